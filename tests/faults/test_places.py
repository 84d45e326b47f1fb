"""Where a job's files go, and how many may be there."""

import pytest
from core_fixtures import devaria


def test_a_place_that_cannot_be_used(lab):
    """The runner says so and takes no job; when the place is there, it does."""
    place = lab.tmp_path / "scratch"
    job_id = lab.submit("good")
    runner = lab.runner(environ={"TMPDIR": str(place)})
    runner.wait_for("cannot take jobs, trying again at every poll: cannot make a folder")
    runner.wait_for(f"for a job's files in {place} ")
    assert lab.job(job_id).status == "pending"

    place.mkdir()

    assert lab.ended(job_id).status == "completed"
    assert list(place.iterdir()) == []
    runner.end()


@pytest.mark.parametrize("option", [["--max-job-disk", "0.05"], []], ids=["option", "variable"])
def test_the_limit_of_disk(lab, option):
    """The error says what was too much."""
    job_id = lab.submit("fills")
    lab.runner(*option, environ={} if option else {"DEVARIA_MAX_JOB_DISK": "0.05"})

    error = lab.ended(job_id).error

    assert error.startswith("Job execution failed: its files in run_dir took ")
    assert " MB of disk; its limit is 50 MB" in error


@pytest.mark.parametrize("where", [[], ["--in-process"]], ids=["child", "in process"])
def test_a_job_without_a_worker(tmp_path, where):
    """One line says the folder and what to do."""
    place = tmp_path / "scratch"

    done = devaria("run", "hello_world", "-p", "name=A", *where, TMPDIR=str(place))

    assert done.returncode == 7
    assert "Traceback" not in done.stderr
    assert f"cannot make a folder for a job's files in {place} " in done.stderr
