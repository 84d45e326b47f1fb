"""Keys and signatures stay where they belong, whatever a job or its submitter does."""

import base64
import os
import stat
import sys
from pathlib import Path

import pytest
from lab import QUICK_HEARTBEATS
from waiting import wait_until

SIGNATURE = "c2lnbmF0dXJlLXRoYXQtbXVzdC1ub3Qtc2hvdw"
URL = f"https://data.example/file.nwb?X-Amz-Signature={SIGNATURE}&X-Amz-Expires=60"
FIGPACK_KEY = "figpack-key-0123456789"
SUBSCRIBE_KEY, PUBLISH_KEY = "subscribe-key-0123456789", "publish-key-0123456789"


@pytest.fixture
def leaky(lab):
    """A runner in the middle of a job that shows all it knows, and what lets the job go on."""
    go, environ = lab.tmp_path / "go", lab.tmp_path / "environ"
    params = {"url": URL, "key": lab.worker.keys.runner, "environ": str(environ), "go": str(go)}
    job_id = lab.submit("leaks", **params)
    keys = {
        "DEVARIA_SUBMIT_API_KEY": lab.worker.keys.submit,
        "DEVARIA_ADMIN_API_KEY": lab.worker.keys.admin,
        "FIGPACK_API_KEY": FIGPACK_KEY,
        # The worker answers a long poll with 404.
        "NOTIFY_RELAY_BASE_URL": lab.worker.url,
        "NOTIFY_RELAY_SUBSCRIBE_KEY": SUBSCRIBE_KEY,
        "NOTIFY_RELAY_SUBSCRIBE_ID": "lab-1",
        "NOTIFY_RELAY_PUBLISH_KEY": PUBLISH_KEY,
    }
    runner = lab.runner("--verbose", environ=keys, timing=QUICK_HEARTBEATS)
    wait_until(environ.exists, "the job's start")
    wait_until(lambda: lab.proxy.passed("heartbeat"), "a heartbeat")
    return runner, job_id, go, environ


def secrets(lab):
    """Name all that must not show."""
    keys = lab.worker.keys
    return [keys.runner, keys.submit, keys.admin, SUBSCRIBE_KEY, PUBLISH_KEY, SIGNATURE]


def journal_bytes(lab):
    """Read every file of the journal."""
    paths = (lab.directory / ".devaria_jobs").rglob("*")
    return b"".join(path.read_bytes() for path in paths if path.is_file())


def test_texts(lab, leaky):
    """Log, console, error text and heartbeats show no key, signature or escape code."""
    runner, job_id, go, _ = leaky
    go.touch()
    job = lab.ended(job_id)
    runner.end()
    log = (lab.directory / "devaria_runner.log").read_text()
    beats = [e.body["console_output"] for e in lab.proxy.passed("heartbeat")]
    assert "data.example/file.nwb" in job.error
    assert "reading https://data.example/file.nwb" in job.console_output
    for text in (log, runner.output(), job.error, job.console_output, *beats):
        assert not [secret for secret in secrets(lab) if secret in text]
    assert "\x1b" not in log + runner.output()


def test_other_forms_of_a_key(lab, leaky):
    """A key in colours or in base64 shows as little."""
    _, job_id, go, _ = leaky
    go.touch()
    console = lab.ended(job_id).console_output
    plain = console.replace("\\x1b[32m", "").replace("\x1b[32m", "")
    key = lab.worker.keys.runner
    assert key not in plain
    assert base64.b64encode(f"u:{key}".encode()).decode()[4:-4] not in console


def test_results(lab):
    """A result loses the runner's keys, and keeps the submitter's URL as it is."""
    job_id = lab.submit("echoes", value=[URL, f"key: {lab.worker.keys.runner}"])
    lab.runner("--burst").wait()
    assert lab.ended(job_id).output_data == {"value": [URL, "key: ***"]}


def test_a_short_key(lab):
    """It is warned about, and words that it is a part of stay."""
    job_id = lab.submit("echoes", value="the worker works")
    runner = lab.runner("--burst", environ={"FIGPACK_API_KEY": "rk"})
    assert runner.wait() == 0
    assert "FIGPACK_API_KEY has fewer than 8 characters" in runner.output()
    assert lab.ended(job_id).output_data == {"value": "the worker works"}


def test_traceback(lab):
    """The public console does not say where things lie; the runner's log does."""
    job_id = lab.submit("raises")
    runner = lab.runner("--burst", environ={"LOGNAME": "zoe.lab"})
    assert runner.wait() == 0
    console = lab.ended(job_id).console_output
    assert '  File "misbehaviour.py", line ' in console
    assert str(Path(__file__).parent) not in console
    log = (lab.directory / "devaria_runner.log").read_text()
    assert f'  File "{Path(__file__).with_name("misbehaviour.py")}", line ' in log


def test_journal(lab, leaky):
    """The journal holds no key and no signature, while a job runs and when it has ended."""
    _, _, go, _ = leaky
    wait_until(lambda: b"reading" in journal_bytes(lab), "the console in the journal")
    assert not [each for each in secrets(lab) if each.encode() in journal_bytes(lab)]
    rule = lab.proxy.on("error", lambda *_: None)
    go.touch()
    wait_until(lambda: rule.hits, "a report")
    assert b"Job execution failed" in journal_bytes(lab)
    assert not [each for each in secrets(lab) if each.encode() in journal_bytes(lab)]


def test_given_up_job(lab, leaky):
    """The console that a killed runner left shows no secret when a later run reports it."""
    runner, job_id, _, environ = leaky
    runner.kill()
    environ.unlink()
    second = lab.runner()
    wait_until(environ.exists, "the second start")
    wait_until(lambda: b"reading" in journal_bytes(lab), "the console in the journal")
    second.kill()
    assert lab.runner("--burst").wait() == 0
    job = lab.job(job_id)
    assert "started 2 times" in job.error
    assert "data.example" in job.console_output
    assert not [secret for secret in secrets(lab) if secret in job.console_output + job.error]


def test_environment_of_a_job(lab, leaky):
    """A job's environment lacks the runner's keys, and has what handlers need."""
    _, _, _, environ = leaky
    values = environ.read_text()
    assert not [key for key in secrets(lab) if key in values]
    assert "NOTIFY_RELAY_" not in values
    assert FIGPACK_KEY in values


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_process_list(lab, leaky):
    """No command line shows a secret, nor does the environment of a job process."""
    import psutil

    runner, *_ = leaky
    children = psutil.Process(runner.pid).children(recursive=True)
    assert children
    for pid in (runner.pid, *(child.pid for child in children)):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not [each for each in secrets(lab) if each.encode() in line]
    for child in children:
        environ = Path(f"/proc/{child.pid}/environ").read_bytes()
        assert not [each for each in secrets(lab) if each.encode() in environ]


def mode(path):
    """Tell who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
@pytest.mark.usefixtures("leaky")
def test_file_modes(lab):
    """What the runner keeps is for its owner only."""
    assert mode(lab.directory / ".devaria_runner.json") == 0o600
    folder = lab.directory / ".devaria_jobs"
    assert mode(folder) == 0o700
    inner = list(folder.rglob("*"))
    assert inner
    assert all(mode(path) == (0o700 if path.is_dir() else 0o600) for path in inner)
