"""What a runner does about jobs that it, or the machine under it, left behind."""

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
import time

import pytest
from fault_proxy import ANY, cut_before, rate_limited
from lab import QUICK_HEARTBEATS, QUICK_TRIES, is_running
from waiting import wait_until

# --- killed in each state --------------------------------------------------------------------

#: Each crash point that a good job comes by, and what the journal holds after the crash there.
POINTS = {
    "before write claiming": [],
    "after write claiming": ["claiming"],
    "before claim": ["claiming"],
    "after claim": ["claiming"],
    "before write running": ["claiming"],
    "after write running": ["running"],
    "before write done": ["running"],
    "after write done": ["done"],
    "before complete": ["done"],
    "after complete": ["done"],
    "before remove": ["done"],
    "after remove": [],
}


@pytest.mark.parametrize("point", POINTS)
def test_killed(lab, point):
    """A runner that is killed at any step of a job completes it, once, when it is started again."""
    job_id = lab.submit("good")
    first = lab.runner(crash_at=f"{point} 1")
    assert first.wait() == -9
    assert [entry["state"] for entry in lab.journal()] == POINTS[point]
    second = lab.runner("--burst")
    assert second.wait() == 0
    assert lab.job(job_id).status == "completed"
    assert len([e for e in lab.proxy.passed("complete") if e.worker_status == 200]) == 1
    assert not lab.proxy.passed("error")
    assert not any((lab.directory / ".devaria_jobs").iterdir())
    second.check_sanity()


def test_killed_in_a_job(lab):
    """A job whose runner is killed ends with it within five seconds, and runs again.

    Its temporary files are removed then, which the killed runner could not do; so is the folder of
    the next job's process, which had been started ahead.
    """
    job, following = lab.submit_waiting(), lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    wait_until(
        lambda: len(list(lab.tmp_path.glob("devaria-job-*"))) == 2, "a process started ahead"
    )
    runner.kill()
    wait_until(lambda: not is_running(job.pids[0]), "the end of the job process", 5)
    second = lab.runner()
    job.wait_for_start(2)
    for each in (job, following):
        each.let_go()
        assert lab.ended(each.job_id).status == "completed"
    second.wait_for("was left behind; running it")
    second.end()
    assert list(lab.tmp_path.glob("devaria-job-*")) == []


def test_killed_twice_in_a_job(lab):
    """A job under which its runner died twice is given up, with how often, and its console."""
    job = lab.submit_waiting()
    for nth in (1, 2):
        runner = lab.runner()
        job.wait_for_start(nth)
        wait_until(lambda: "waiting" in console_in_journal(lab), "the console in the journal")
        runner.kill()
    third = lab.runner("--burst")
    assert third.wait() == 0
    reported = lab.job(job.job_id)
    assert reported.status == "failed"
    assert "the job was started 2 times" in reported.error
    assert reported.console_output == "waiting\n"
    assert len(job.pids) == 2
    assert not lab.journal()


def console_in_journal(lab):
    """Read what the journal holds of the consoles."""
    return "".join(p.read_text() for p in (lab.directory / ".devaria_jobs").glob("*/console.txt"))


def test_killed_while_offline(lab):
    """A result that could not be delivered before a crash is delivered by the next run."""
    job_id = lab.submit("good")
    rule = lab.proxy.on("complete", cut_before)
    runner = lab.runner()
    wait_until(lambda: rule.hits, "a report")
    runner.kill()
    rule.lift()
    assert lab.runner("--burst").wait() == 0
    assert lab.job(job_id).status == "completed"
    assert len(lab.proxy.passed("claim")) == 1


# --- what the journal does not tell ----------------------------------------------------------


def test_journal_lost(lab):
    """Jobs that are the runner's at the worker, and not in its journal, are taken up."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.kill()
    for path in (lab.directory / ".devaria_jobs").rglob("*.*"):
        path.unlink()
    job.let_go()
    second = lab.runner("--burst")
    assert second.wait() == 0
    assert lab.job(job.job_id).status == "completed"
    assert "but not in its journal" in second.output()


@pytest.mark.parametrize(
    "content",
    [b"", b'{"job_id": "x"', b"\xff\xfe", None],
    ids=["empty", "torn", "bad UTF-8", "directory"],
)
def test_corrupt_entry(lab, content):
    """An entry that cannot be understood is set aside and announced; its job is taken up."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.kill()
    path = lab.directory / ".devaria_jobs" / job.job_id / "entry.json"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    job.let_go()
    second = lab.runner("--burst")
    assert second.wait() == 0
    assert lab.job(job.job_id).status == "completed"
    assert "a journal entry was corrupt" in second.output()
    second.check_sanity()


def test_another_worker(lab):
    """An entry of another worker is left alone and said; its own worker's runner settles it."""
    job_id = lab.submit("good")
    rule = lab.proxy.on("complete", cut_before)
    runner = lab.runner()
    wait_until(lambda: rule.hits, "a report")
    runner.kill()
    rule.lift()
    with other_worker(lab) as url:
        elsewhere = lab.runner("--burst", worker_url=url, environ=elsewhere_key(lab))
        assert elsewhere.wait() == 0
        assert f"Job {job_id} belongs to another worker" in elsewhere.output()
        assert [entry["state"] for entry in lab.journal()] == ["done"]
    back = lab.runner("--burst")
    assert back.wait() == 0
    assert lab.job(job_id).status == "completed"
    assert not lab.journal()


@contextlib.contextmanager
def other_worker(lab):
    """Run a second worker with keys of its own; give its URL."""
    from devaria.worker.server import LocalWorker

    with LocalWorker(lab.tmp_path / "elsewhere", port=0, rate_limit=False) as worker:
        yield worker.url


def elsewhere_key(lab):
    """Give the environment for the second worker."""
    keys = json.loads((lab.tmp_path / "elsewhere" / "keys.json").read_text())
    return {"DEVARIA_RUNNER_API_KEY": keys["runner"]}


def test_handler_missing_at_the_next_start(lab):
    """A job left behind is not failed by a runner that cannot run it; it waits for one that can."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.kill()
    without = lab.runner("--burst", "--handlers", "good=misbehaviour:Good")
    assert without.wait() == 0
    assert "cannot run here: start the runner with a handler of type waits" in without.output()
    assert not lab.job(job.job_id).is_final
    job.let_go()
    assert lab.runner("--burst").wait() == 0
    assert lab.job(job.job_id).status == "completed"


def test_deleted_meanwhile(lab):
    """A job that was deleted while no runner ran is forgotten, and nothing is reported."""
    from test_fault_table import delete

    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.kill()
    delete(lab, job.job_id)
    second = lab.runner("--burst")
    assert second.wait() == 0
    assert len(job.pids) == 1
    assert not lab.journal()
    assert not lab.proxy.passed("complete") + lab.proxy.passed("error")


# --- the runner's id ------------------------------------------------------------------------


def forget_runners(lab):
    """Let the worker forget every runner that ever registered; its jobs keep their claims."""
    with contextlib.closing(sqlite3.connect(lab.tmp_path / "worker" / database_name(lab))) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM runners")
        db.commit()


def database_name(lab):
    """Find the worker's database."""
    folder = lab.tmp_path / "worker"
    return next(p.name for p in folder.iterdir() if p.read_bytes()[:6] == b"SQLite")


def test_unknown_id_while_running(lab):
    """A runner whose id the worker does not know any more registers again and goes on."""
    runner = lab.runner()
    runner.wait_for("Polling")
    old_id = lab.runner_id()
    forget_runners(lab)
    job = lab.ended(lab.submit("good"))
    assert job.status == "completed"
    assert job.claimed_by != old_id
    assert job.claimed_by == lab.runner_id()
    runner.end()
    assert runner.output().count("registering again") == 1


def test_old_id_for_what_is_owed(lab):
    """A report of a job that was claimed under an id that is gone goes out under that id."""
    job_id = lab.submit("good")
    rule = lab.proxy.on("complete", cut_before)
    runner = lab.runner()
    wait_until(lambda: rule.hits, "a report")
    runner.kill()
    old_id = lab.runner_id()
    forget_runners(lab)
    rule.lift()
    next_job = lab.submit("good")
    second = lab.runner("--burst")
    assert second.wait() == 0
    assert (lab.job(job_id).status, lab.job(job_id).claimed_by) == ("completed", old_id)
    assert lab.job(next_job).status == "completed"
    assert lab.job(next_job).claimed_by not in (old_id, None)


# --- a disk that does not take it ------------------------------------------------------------


def test_journal_cannot_be_written(lab):
    """Without a journal no job is claimed; that is said once, and mended at the next poll."""
    runner = lab.runner(before=without_privilege())
    runner.wait_for("Polling every")
    lab.directory.chmod(0o500)
    job_id = lab.submit("good")
    runner.wait_for("cannot take jobs")
    polls = len(lab.proxy.passed("available"))
    wait_until(lambda: len(lab.proxy.passed("available")) >= polls + 3, "several polls")
    assert runner.output().count("cannot take jobs") == 1
    assert not lab.proxy.passed("claim")
    lab.directory.chmod(0o700)
    assert lab.ended(job_id).status == "completed"
    runner.end()


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit")
def test_disk_full_at_the_end_of_a_job(lab):
    """A result for which the disk has no place is reported from memory."""
    runner = lab.runner(preexec_fn=lambda: set_file_limit(0, 20_000))
    job_id = lab.submit("floods", what="", size=100_000)
    job = lab.ended(job_id)
    assert job.status == "completed"
    assert len(job.output_data["text"]) == 100_000
    wait_until(lambda: not lab.journal(), "an empty journal")
    assert "cannot write job" in runner.output()
    runner.end()


def set_file_limit(pid, size):
    """Bound the size of the files that a process can write, as a full disk does."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def test_journal_is_lost_while_running(lab):
    """A journal that is deleted under a running job costs nothing."""
    import shutil

    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    shutil.rmtree(lab.directory / ".devaria_jobs")
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    runner.end()


# --- clocks ---------------------------------------------------------------------------------


def test_clock_jumps(lab):
    """A wall clock that leaps days to and fro has no part in any wait, time limit or heartbeat."""
    timing = {**QUICK_HEARTBEATS, **QUICK_TRIES}
    environ = {"FAULTS_CLOCK_JUMP_SEC": "1000000"}
    lab.proxy.on(ANY, cut_before, skip=2, times=2)  # so that there are waits
    lab.proxy.on("available", rate_limited(1.5), times=1)
    job = lab.submit_waiting()
    options = ("--job-timeout", "30", "--no-wait")
    runner = lab.runner(*options, timing=timing, environ=environ)
    job.wait_for_start()
    started = time.monotonic()
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= 5, "heartbeats")
    assert 0.8 < time.monotonic() - started < 6
    polls = lab.proxy.passed("available")
    at = next(nth for nth, e in enumerate(polls) if e.status == 429)
    limited, following = polls[at : at + 2]
    assert 1.4 < following.at - limited.at < 5
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    polls = len(lab.proxy.passed("available"))
    time.sleep(1)
    assert 2 <= len(lab.proxy.passed("available")) - polls <= 8
    runner.end()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")
def test_machine_that_slept(lab):
    """Polls and heartbeats resume by themselves after a sleep, with no burst of missed ones."""
    job = lab.submit_waiting()
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    wait_until(lambda: lab.proxy.passed("heartbeat"), "a heartbeat")
    runner.signal(signal.SIGSTOP)
    time.sleep(1.5)
    before = len(lab.proxy.passed("heartbeat"))
    runner.signal(signal.SIGCONT)
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= before + 4, "heartbeats")
    times = [e.at for e in lab.proxy.passed("heartbeat")][before:]
    assert min(late - early for early, late in zip(times, times[1:])) > 0.2
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    polls = len(lab.proxy.passed("available"))
    wait_until(lambda: len(lab.proxy.passed("available")) > polls, "a poll")
    runner.end()


ROOT_WITHOUT_PRIVILEGE = (
    "setpriv",
    "--inh-caps=-dac_override,-dac_read_search",
    "--bounding-set=-dac_override,-dac_read_search",
)


@pytest.mark.parametrize("parts", [[], ["job"], ["job", "entry.json"]], ids=len)
def test_journal_cannot_be_read(lab, parts):
    """A job may have taken the rights away. It is read all the same."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.kill()
    names = [job.job_id if name == "job" else name for name in parts]
    lab.directory.joinpath(".devaria_jobs", *names).chmod(0)
    second = lab.runner(before=without_privilege())
    job.wait_for_start(2)
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    assert "it is set aside" not in second.output()
    second.end()


def without_privilege():
    """What is put before a command so that rights count, also for root."""
    if os.getuid() != 0:
        return ()
    if shutil.which(ROOT_WITHOUT_PRIVILEGE[0]) is None:
        pytest.skip(f"{ROOT_WITHOUT_PRIVILEGE[0]} is not installed")
    return ROOT_WITHOUT_PRIVILEGE
