"""Jobs that stop being a runner's: it stops them too, and reports nothing."""

import contextlib
import sqlite3

import pytest
from fault_proxy import answered, cut_after, cut_before
from lab import QUICK_HEARTBEATS, QUICK_TRIES, is_running
from test_fault_table import delete
from test_recovery import database_name, forget_runners
from waiting import wait_until


def set_columns(lab, job_id, **columns):
    """Change a job behind everybody's back, as the worker's own routines might."""
    names = ", ".join(f"{name} = ?" for name in columns)
    with contextlib.closing(sqlite3.connect(lab.tmp_path / "worker" / database_name(lab))) as db:
        db.execute(f"UPDATE jobs SET {names} WHERE job_id = ?", (*columns.values(), job_id))
        db.commit()


def completed_by_another(lab, job_id):
    """Complete a job under the runner's id, as a copy of its directory elsewhere might."""
    with contextlib.closing(lab.runner_client()) as client:
        client.complete(lab.runner_id(), job_id, {"by": "another"}, "")


def failed_by_the_worker(lab, job_id):
    """Fail a job as the worker's routine for stale jobs would."""
    set_columns(lab, job_id, status="failed", error_message="no heartbeat")


def claimed_by_another(lab, job_id):
    """Give a job to another runner."""
    with contextlib.closing(lab.runner_client()) as client:
        rival = client.register("rival", ["waits"])
    set_columns(lab, job_id, claimed_by=rival)


LOSSES = [delete, completed_by_another, failed_by_the_worker, claimed_by_another]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_lost_while_running(lab, lose):
    """A job lost while it runs is stopped; nothing is reported, the log says so, all goes on."""
    job = lab.submit_waiting()
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    job.wait_for_start()
    lose(lab, job.job_id)
    before = lab.job(job.job_id)
    runner.wait_for(f"Job {job.job_id} is not this runner's any more")
    wait_until(lambda: not is_running(job.pids[0]), "the end of the job process")
    assert lab.ended(lab.submit("good")).status == "completed"
    after = lab.job(job.job_id)
    assert (after and (after.status, after.output_data, after.error)) == (
        before and (before.status, before.output_data, before.error)
    )
    assert all(e.job_id != job.job_id for e in lab.proxy.passed("error"))
    wait_until(lambda: not lab.journal(), "an empty journal")
    runner.end()


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_lost_before_the_report(lab, lose):
    """A job lost between two heartbeats costs its report one refusal, and the runner nothing."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    lose(lab, job.job_id)
    job.let_go()
    runner.wait_for(f"Job {job.job_id} is not this runner's any more")
    assert len(lab.proxy.passed("complete")) == 1
    assert not lab.proxy.passed("error")
    wait_until(lambda: not lab.journal(), "an empty journal")
    runner.end()


@pytest.mark.parametrize("route", [None, "claim"], ids=["", "with a lost answer"])
def test_pending_again_while_a_report_is_owed(lab, route):
    """A job that its worker gave up while its result was owed is claimed again for it."""
    rule = lab.proxy.on("complete", cut_before)
    job_id = lab.submit("good")
    runner = lab.runner(timing=QUICK_TRIES)
    wait_until(lambda: rule.hits, "a report")
    set_columns(lab, job_id, status="pending", claimed_by=None)
    if route is not None:
        lab.proxy.on(route, cut_after, times=1)
    rule.lift()
    assert lab.ended(job_id).output_data is not None
    runner.wait_for("reported as completed")
    runner.end()
    assert runner.output().count("started") == 1


def test_pending_again_under_an_id_that_is_gone(lab):
    """A job that was given up by a worker that forgot its runner, too, is left to others."""
    rule = lab.proxy.on("complete", cut_before)
    job_id = lab.submit("good")
    runner = lab.runner(timing=QUICK_TRIES)
    wait_until(lambda: rule.hits, "a report")
    set_columns(lab, job_id, status="pending", claimed_by=None)
    forget_runners(lab)
    rule.lift()
    runner.wait_for(f"Job {job_id} is not this runner's any more")
    assert lab.ended(job_id).status == "completed"  # as a new job, by the same runner
    runner.end()


def test_a_refused_heartbeat_is_looked_into(lab):
    """A heartbeat that is refused though the job is still the runner's stops nothing."""
    refusal = {"success": False, "message": "Job not found or not claimed by this runner"}
    rule = lab.proxy.on("heartbeat", answered(400, refusal), times=2)
    job = lab.submit_waiting()
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= 4, "later heartbeats")
    assert rule.hits == 2
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    runner.end()
