"""The job store under several threads, and over restarts."""

import sqlite3
import threading

import pytest

from devaria.worker.store.database import Database
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.runners import RunnerStore

THREADS = 8


@pytest.fixture
def database(tmp_path):
    """An open database."""
    database = Database(tmp_path / "jobs.sqlite3")
    yield database
    database.close()


@pytest.fixture
def jobs(database, clock):
    """A job store."""
    return JobStore(database, clock)


@pytest.fixture
def runners(database, clock):
    """The runner store over the same database."""
    return RunnerStore(database, clock)


def _at_once(function):
    """Call a function in eight threads at the same time; return their results."""
    start, results = threading.Barrier(THREADS), []

    def run(number):
        start.wait()
        results.append(function(number))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == THREADS
    return results


def test_every_job_is_claimed_once(jobs, runners):
    """Eight threads that claim all of 40 jobs get 40 claims in all, each of its own job."""
    runner_ids = [runners.register(f"r{n}", []) for n in range(THREADS)]
    job_ids = [jobs.submit("t", {"n": n})[0]["job_id"] for n in range(40)]

    def claim_all(number):
        return [job_id for job_id in job_ids if jobs.claim(job_id, runner_ids[number])]

    claimed = _at_once(claim_all)
    assert sorted(job_id for mine in claimed for job_id in mine) == sorted(job_ids)
    for runner_id in runner_ids:
        mine = {job["job_id"] for job in jobs.newest(100, claimed_by=runner_id)}
        assert mine in [set(one) for one in claimed]


def test_one_submission_of_many_creates_the_job(jobs):
    """Eight threads that submit the same job get one id, and one of them created it."""
    for n in range(20):
        results = _at_once(lambda _, n=n: jobs.submit("t", {"n": n}))
        assert len({job["job_id"] for job, _ in results}) == 1
        assert sum(is_new for _, is_new in results) == 1
    assert jobs.counts()["total"] == 20


def test_one_outcome_of_many_is_taken(jobs, runners):
    """Of results and errors that arrive at the same time, exactly one is stored."""
    runner_id = runners.register("r", [])
    job_id = jobs.submit("t", {})[0]["job_id"]
    jobs.claim(job_id, runner_id)

    def finish(number):
        outcome = {"output": str(number)} if number % 2 else {"error": str(number)}
        return number if jobs.finish(job_id, runner_id, "", **outcome) else None

    (winner,) = [number for number in _at_once(finish) if number is not None]
    job = jobs.get(job_id)
    expected = (str(winner), None) if winner % 2 else (None, str(winner))
    assert (job["output_data"], job["error_message"]) == expected


def test_a_submission_beside_deletions_always_finds_its_job(jobs):
    """A job that another thread deletes is created again, and no thread hangs."""

    def submit_and_delete(_number):
        for _ in range(20):
            job, _ = jobs.submit("t", {})
            jobs.delete(job["job_id"])
        return job["status"]

    assert _at_once(submit_and_delete) == ["pending"] * THREADS


def test_jobs_survive_a_restart(tmp_path, clock):
    """A job that was claimed before the restart is claimed after it."""
    database = Database(tmp_path / "jobs.sqlite3")
    runner_id = RunnerStore(database, clock).register("r", ["t"])
    job_id = JobStore(database, clock).submit("t", {"a": 1})[0]["job_id"]
    JobStore(database, clock).claim(job_id, runner_id)
    database.close()
    database = Database(tmp_path / "jobs.sqlite3")
    job = JobStore(database, clock).get(job_id)
    assert (job["status"], job["claimed_by"]) == ("claimed", runner_id)
    assert RunnerStore(database, clock).get(runner_id)["capabilities"] == ["t"]
    database.close()


def test_an_unknown_runner_cannot_claim(jobs):
    """The database itself refuses the claim, and the job stays pending."""
    job_id = jobs.submit("t", {})[0]["job_id"]
    with pytest.raises(sqlite3.IntegrityError):
        jobs.claim(job_id, "nobody")
    assert jobs.get(job_id)["status"] == "pending"


def test_jobs_of_one_millisecond_keep_their_order(jobs):
    """With a clock that stands still, jobs keep the order of submission."""
    ids = [jobs.submit("t", {"n": n})[0]["job_id"] for n in range(10)]
    assert [job["job_id"] for job in jobs.available(["t"])] == ids
    assert [job["job_id"] for job in jobs.newest(3)] == ids[:-4:-1]


def test_writes_do_not_wait_for_the_disk(database):
    """Writes go to a write-ahead log without waiting for the disk."""
    assert database.execute("PRAGMA journal_mode").rows[0][0] == "wal"
    assert database.execute("PRAGMA synchronous").rows[0][0] == 1
