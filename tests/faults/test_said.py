"""What a job's process says: whatever it is, the job has an outcome, and the runner goes on."""

import json
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the pipe in /proc")

NOTHING = {"output": None, "error": None, "console": None, "traceback": None}


def outcome(**fields):
    """An event that ends a job."""
    return json.dumps({"event": "outcome", **NOTHING, **fields})


def deep(levels):
    """An event with a result of so many levels."""
    return outcome(output={"a": 0}).replace('"a": 0', '"a": ' + "[" * levels + "]" * levels)


#: What is said, and what the job's error says of it.
MISFITS = [
    ('{"event": "outcome"}', "'outcome' that does not fit: it has no output"),
    ('{"event": "unavailable"}', "'unavailable' that does not fit"),
    ('{"event": "unavailable", "reason": "a"}', "the job has started"),
    ('{"event": "progress"}', "'progress' that does not fit: it has no console"),
    (outcome(), "not exactly one of a result and an error"),
    (outcome(output={}, error="both"), "not exactly one of a result and an error"),
    (outcome(error=""), "not exactly one of a result and an error"),
    (outcome(output=[1]), "its output is of type list"),
    (outcome(error=5), "its error is of type int"),
    (outcome(output={}, console=["a"]), "its console is of type list"),
    (outcome(output={"a": [float("nan")]}), "result['a'][0] is NaN"),
    (outcome(output={"a": 0}).replace("0", "1e999"), "result['a'] is infinity"),
    (outcome(output={"a": 0}).replace("0", "9" * 400), "result['a'] is an integer beyond"),
    (deep(300), "nested too deeply"),
    (deep(900), "nested too deeply"),
    (outcome(output={"a": "x" * 600_000}), "the result is too big: 600,008 characters"),
]


def test_events_that_do_not_fit_are_errors_of_the_job(lab):
    """The error says what is wrong. Nothing of it stays in the journal."""
    runner = lab.runner()
    jobs = [(lab.submit("says", lines=[line]), text) for line, text in MISFITS[:-1]]
    for job_id, text in jobs:
        job = lab.ended(job_id)
        assert job.status == "failed", (text, job)
        assert text in job.error
    huge, text = MISFITS[-1]
    head, tail = huge.split("x" * 600_000)
    # The parameters of a job cannot be so long.
    job_id = lab.submit("says", lines=[head], middle="x", times=600_000, tail=tail)
    assert text in lab.ended(job_id).error
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert not lab.journal()


@pytest.mark.parametrize("line", ["x", "[1]", '{"event": 5}', '{"event": {"a": 1}}', "[" * 5_000])
def test_what_is_no_event_is_left_out(lab, line):
    """Something may have printed into the pipe. The handler's result counts."""
    job_id = lab.submit("says", lines=[line])
    assert lab.runner("--burst").wait() == 0
    assert lab.ended(job_id).output_data == {"said": True}


def test_half_a_pair_and_long_texts_fit(lab):
    """The worker takes halves of surrogate pairs; what is too long is cut."""
    texts = {"error": "e" * 30_000, "console": "\udfff", "traceback": "t"}
    runner = lab.runner()
    job = lab.ended(lab.submit("says", lines=[outcome(**texts)]))
    assert job.status == "failed"
    assert job.error.startswith("eee")
    assert len(job.error) <= 10_240
    assert job.console_output == "\ufffd\nt"
    runner.end()
