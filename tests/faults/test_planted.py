"""Whatever stands in the runner's directory: it starts, says what it set aside, and works."""

import json
import os
import sys
from dataclasses import asdict, replace

import pytest
from lab import QUICK_TRIES
from waiting import wait_until

from devaria.execution.outcome import JobOutcome
from devaria.runner.journal import Journal, JournalEntry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")

FILES = [
    ".devaria_runner.json",
    ".devaria_runner.json.new",
    ".devaria_runner.lock",
    ".devaria_runner.pid",
    ".devaria_runner.pid.new",
    ".devaria_status.json",
    ".devaria_status.json.new",
    "devaria_runner.log",
    "devaria_runner.log.1",
    ".devaria_jobs",
]


def plant_link(path, target):
    """Plant a link to a file that must stay as it is."""
    path.symlink_to(target)


def plant_second_name(path, target):
    """Plant a second name of such a file."""
    os.link(target, path)


def plant_pipe(path, _):
    """Plant a pipe, which nobody writes to or reads from."""
    os.mkfifo(path)


def plant_folder(path, _):
    """Plant a folder with something in it."""
    (path / "inside").mkdir(parents=True)


def plant_endless(path, _):
    """Plant a link to what never ends."""
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "plant", [plant_link, plant_second_name, plant_pipe, plant_folder, plant_endless]
)
def test_odd_things_in_the_place_of_its_files(lab, plant):
    """A runner starts among them, runs a job, and ends on a signal. What they lead to stays."""
    lab.directory.mkdir()
    target = lab.tmp_path / "precious"
    target.write_text("precious")
    planted = [name for name in FILES if not (plant is plant_folder and name == ".devaria_jobs")]
    for name in planted:
        plant(lab.directory / name, target)

    runner = lab.runner()
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()

    assert target.read_text() == "precious"
    # The others are replaced, whatever they are.
    replaced = [".devaria_status.json"]
    if plant is plant_second_name:  # a regular file, which is read before it is replaced
        replaced += [".devaria_runner.pid", "devaria_runner.log.1"]
    for name in planted:
        if not name.endswith(".new") and name not in replaced:
            assert f"{name}.corrupt-" in runner.output()
    again = lab.runner("--burst")
    assert again.wait() == 0
    assert "corrupt" not in again.output()


def spoiled(lab, **fields):
    """The bytes of an entry that no runner of this worker has written."""
    entry = JournalEntry("a-job", "good", lab.proxy.url, "a-runner")
    done = entry.started().ended(JobOutcome({"a": 1}, None, ""))
    return json.dumps({**asdict(done), **fields}).encode("ascii")


def test_odd_journal_entries(lab):
    """None ends the runner, now or at the next start; each is set aside, and said."""
    outcome = asdict(JobOutcome({"a": 1}, None, ""))
    entries = {
        "nan": spoiled(lab, outcome={**outcome, "output_data": {"a": float("nan")}}),
        "deep": spoiled(lab).replace(b'{"a": 1}', b'{"a":' * 900 + b"1" + b"}" * 900),
        "half-a-pair": spoiled(lab, job_id="\ud800"),
        "runner-pair": spoiled(lab, job_id="runner-pair", runner_id="\ud800"),
        "runner-newline": spoiled(lab, job_id="runner-newline", runner_id="a\nb", state="running"),
        "wrong-types": spoiled(lab, job_id=["a"], runs={}),
        "garbage": b"\xff\x00",
    }
    root = lab.directory / ".devaria_jobs"
    for name, content in entries.items():
        (root / name).mkdir(parents=True)
        (root / name / "entry.json").write_bytes(content)
    (root / "pipe").mkdir()
    os.mkfifo(root / "pipe" / "entry.json")
    (root / "link").symlink_to(lab.tmp_path)
    (root / "file").touch()
    (root / "folder" / "entry.json").mkdir(parents=True)

    runner = lab.runner(timing=QUICK_TRIES)
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()

    for name in (*entries, "pipe", "folder"):
        assert f"{name}/entry.json.corrupt-" in runner.output(), name
    for name in ("link", "file"):
        assert f".devaria_jobs/{name}.corrupt-" in runner.output()
    again = lab.runner("--burst")
    assert again.wait() == 0
    assert "corrupt" not in again.output()


def test_a_good_entry_among_odd_ones_is_settled(lab):
    """What an earlier run owes is reported all the same."""
    first = lab.runner("--burst")
    assert first.wait() == 0
    job_id = lab.submit("good")
    with_id = JournalEntry(job_id, "good", lab.proxy.url, lab.runner_id())
    client = lab.runner_client()
    client.claim(lab.runner_id(), job_id)
    client.close()
    outcome = JobOutcome({"owed": True}, None, "printed")
    Journal(lab.directory).write(replace(with_id, runs=1).ended(outcome))
    (lab.directory / ".devaria_jobs" / "0").symlink_to("/dev/zero")

    runner = lab.runner()
    assert lab.ended(job_id).output_data == {"owed": True}
    wait_until(lambda: not lab.journal(), "an empty journal")
    runner.end()


def test_folders_that_a_job_nests(lab):
    """They end neither this run nor, left by a killed runner, the next one; nothing is left."""
    depth = 1_300
    runner = lab.runner()
    assert lab.ended(lab.submit("nests", depth=depth)).status == "completed"
    starts = lab.tmp_path / "nested"
    lab.submit("nests", depth=depth, stays=str(starts))
    wait_until(starts.exists, "the folders", context=lab.outputs)
    runner.kill()
    assert list(lab.tmp_path.glob("devaria-job-*"))

    job_id = lab.submit("good")
    runner = lab.runner()
    assert lab.ended(job_id).status == "completed"
    runner.end()
    assert not list(lab.tmp_path.glob("devaria-job-*"))
