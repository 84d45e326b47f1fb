"""The contract's section "Fields"."""

import json

import pytest

CONSOLE, OUTPUT, ERROR, INPUT = 1_048_576, 512_000, 10_240, 102_400
HEARTBEAT = {"progress_current": 1, "progress_total": 4, "console_output": "c"}
COMPLETE = {"output_data": {}, "console_output": "c"}
FAILED = {"error_message": "e", "console_output": "c"}
BODIES = {"heartbeat": HEARTBEAT, "complete": COMPLETE, "error": FAILED}


@pytest.fixture
def report(api):
    """Return a function that reports on a newly claimed job; its `job_id` is the job's id."""
    job_id, runner = api.claimed_job()

    def send(action, body=None, **changed):
        body = {**BODIES[action], **changed} if body is None else body
        # Compact and not escaped: two bodies of the same size on the wire are so here too.
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return runner.post(f"/api/runner/jobs/{job_id}/{action}", data=data)

    send.job_id = job_id
    return send


def _without(action, name):
    return {key: value for key, value in BODIES[action].items() if key != name}


@pytest.mark.parametrize(("action", "name"), [(a, name) for a in BODIES for name in BODIES[a]])
def test_a_missing_field_is_500_and_the_job_stays_claimed(api, report, action, name):
    """Every field of a report must be present."""
    reply = report(action, _without(action, name))
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("Failed to ")
    assert api.look(report.job_id)["status"] == "claimed"


@pytest.mark.parametrize("action", BODIES)
@pytest.mark.parametrize("console", [None, ["a"]])
def test_a_console_that_is_not_a_string_is_500(api, report, action, console):
    """A report with null or a list as console changes nothing."""
    assert report(action, console_output=console).status_code == 500
    assert api.look(report.job_id)["status"] == "claimed"


def test_an_error_message_of_null_is_500_and_the_job_stays_claimed(api, report):
    """A failure must have a reason."""
    assert report("error", error_message=None).status_code == 500
    assert api.look(report.job_id)["status"] == "claimed"


@pytest.mark.parametrize("message", ["", 5])
def test_an_error_message_may_be_empty_or_a_number(api, report, message):
    """The job fails all the same."""
    assert report("error", error_message=message).status_code == 200
    assert api.look(report.job_id)["status"] == "failed"


@pytest.mark.parametrize("action", BODIES)
def test_a_console_may_be_a_number(api, report, action):
    """It is kept as a text."""
    assert report(action, console_output=5).status_code == 200
    assert isinstance(api.look(report.job_id)["console_output"], str)


def test_progress_may_be_a_text(api, report):
    """A heartbeat with it counts."""
    assert report("heartbeat", progress_current="1", progress_total=4).status_code == 200
    assert api.look(report.job_id)["status"] == "in_progress"


@pytest.mark.parametrize("value", [True, [1], {}])
def test_the_local_worker_takes_no_other_progress(local_api, report, value):
    """What its database cannot hold is refused."""
    assert report("heartbeat", progress_current=value).status_code == 500
    assert local_api.look(report.job_id)["status"] == "claimed"


def test_a_big_integer_is_shown_as_javascript_writes_it(api, report):
    """2^64 has more digits than a double; in a result, and in the progress."""
    assert report("heartbeat", progress_current=2**64, progress_total=2**64).status_code == 200
    assert report("complete", output_data=2**64).status_code == 200
    text = api.anyone.get(f"/api/admin/jobs/{report.job_id}").text
    assert text.count("18446744073709552000") == 3
    assert api.look(report.job_id)["output_data"] == 18446744073709552000


@pytest.mark.parametrize(
    ("current", "total"), [(0, 10), (0.5, 1.0), (-1, 0), (3, 2), (1e300, 2**53)]
)
def test_progress_is_any_two_numbers(api, report, current, total):
    """Progress is shown as it was sent."""
    assert report("heartbeat", progress_current=current, progress_total=total).status_code == 200
    expected = {"current": current, "total": total}
    assert api.look(report.job_id)["progress"] == expected
    assert api.submitter.get(f"/api/jobs/{report.job_id}").json()["progress"] == expected


def test_progress_of_nulls_vanishes_from_answers(api, report):
    """Unknown progress replaces the known one."""
    report("heartbeat")
    assert "progress" in api.look(report.job_id)
    assert report("heartbeat", progress_current=None, progress_total=None).status_code == 200
    assert "progress" not in api.look(report.job_id)
    assert "progress" not in api.submitter.get(f"/api/jobs/{report.job_id}").json()


@pytest.mark.parametrize("action", BODIES)
@pytest.mark.parametrize("console", ["", "two é \U0001f600\n\x00\x1b[1m"])
def test_every_report_replaces_the_console(api, report, action, console):
    """The new console replaces the old one, even if it is empty."""
    report("heartbeat", console_output="one")
    assert report(action, console_output=console).status_code == 200
    assert api.look(report.job_id)["console_output"] == console


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, "text", True, [], [1, {"a": None}], {}, {"a": {"b": "é"}}]
)
def test_output_is_any_json_value(api, report, value):
    """A result need not be an object."""
    assert report("complete", output_data=value).status_code == 200
    assert api.look(report.job_id)["output_data"] == value
    shown = api.submitter.get(f"/api/jobs/{report.job_id}").json()
    assert shown["result"]["output_data"] == value


def _filled(units, character):
    """Make a text of this many UTF-16 code units, of one character as far as possible."""
    width = 2 if ord(character) > 0xFFFF else 1
    return character * (units // width) + "a" * (units % width)


@pytest.mark.parametrize("action", BODIES)
@pytest.mark.parametrize("character", ["a", "é", "\U0001f600", "\n"])
def test_the_console_limit_counts_utf16_code_units(api, report, action, character):
    """1,048,576 code units are accepted and one more is not, whatever their size in UTF-8."""
    reply = report(action, console_output=_filled(CONSOLE + 1, character))
    text = "Console output exceeds size limit of 1048576 bytes"
    assert (reply.status_code, reply.json()) == (400, {"error": text})
    assert api.look(report.job_id)["status"] == "claimed"
    assert report(action, console_output=_filled(CONSOLE, character)).status_code == 200


@pytest.mark.parametrize("character", ["a", "é", "漢", "\U0001f600"])
def test_the_error_limit_counts_utf16_code_units(api, report, character):
    """10,240 code units are accepted and one more is not."""
    reply = report("error", error_message=_filled(ERROR + 1, character))
    text = "Error message exceeds size limit of 10240 bytes"
    assert (reply.status_code, reply.json()) == (400, {"error": text})
    assert api.look(report.job_id)["status"] == "claimed"
    assert report("error", error_message=_filled(ERROR, character)).status_code == 200


# Text of one field, and what each character counts in JSON: escapes count as they are written.
MEASURED = [("a", 1), ("é", 1), ("漢", 1), ("\u2028", 1), ("\x7f", 1), ("\U0001f600", 2)]
MEASURED += [("\n", 2), ('"', 2), ("\\", 2), ("\x01", 6), ("/", 1)]


def _value(limit, character, width):
    """Make an object whose JSON has exactly `limit` code units."""
    room = limit - len('{"v":""}')
    return {"v": character * (room // width) + "a" * (room % width)}


@pytest.mark.parametrize(("character", "width"), MEASURED)
def test_the_output_limit_is_measured_on_compact_json(api, report, character, width):
    """512,000 code units of compact JSON are accepted and one more is not."""
    reply = report("complete", output_data=_value(OUTPUT + 1, character, width))
    text = "Output JSON exceeds size limit of 512000 bytes"
    assert (reply.status_code, reply.json()) == (400, {"error": text})
    assert api.look(report.job_id)["status"] == "claimed"
    reply = report("complete", output_data=_value(OUTPUT, character, width))
    assert reply.status_code == 200


@pytest.mark.parametrize(("character", "width"), MEASURED)
def test_the_input_limit_is_measured_on_compact_json(local_api, job_type, character, width):
    """102,400 code units of compact JSON are accepted and one more is not."""
    too_big = local_api.submit(job_type, _value(INPUT + 1, character, width))
    assert too_big.status_code == 400
    assert "102400" in too_big.json()["error"]
    assert local_api.submit(job_type, _value(INPUT, character, width)).status_code == 201


def test_check_has_the_input_limit_too(api, job_type):
    """Check refuses the same parameters as submit."""
    body = {"job_type": job_type, "input_params": _value(INPUT + 1, "a", 1)}
    assert api.submitter.post("/api/jobs/check", body).status_code == 400


def test_white_space_and_escapes_on_the_wire_do_not_count(api, job_type):
    """A body of three times the limit is accepted if its compact JSON is small enough."""
    params = json.dumps({"v": "é" * 50_000, "w": [1] * 20}, indent=500)
    body = f'{{"job_type":"{job_type}","input_params":{params}}}'
    assert len(body) > 3 * INPUT
    reply = api.submitter.post("/api/jobs/submit", data=body)
    api.job_ids.append(reply.json()["job_id"])
    assert reply.status_code == 201


@pytest.mark.parametrize(("sent", "units"), [("1.0", 1), ("1e2", 3), ("1E-07", 4), ("1e999", 4)])
def test_numbers_count_as_javascript_writes_them(local_api, job_type, sent, units):
    """1.0 counts 1, 1e2 counts as 100 and 1e999 as null."""
    text = "a" * (INPUT - len('{"v":"","n":}') - units)
    for surplus, status in ((1, 400), (0, 201)):
        params = f'{{"v":"{text}{"a" * surplus}","n":{sent}}}'
        body = f'{{"job_type":"{job_type}","input_params":{params}}}'
        reply = local_api.submitter.post("/api/jobs/submit", data=body)
        assert reply.status_code == status


def test_fields_that_pass_alone_can_be_too_big_together(api, report):
    """A row over about 2.1 MB of UTF-8 is refused by the database, and the job stays claimed."""
    reply = report("heartbeat", console_output="漢" * CONSOLE)
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("Failed to ")
    assert "SQLITE_TOOBIG" in reply.json()["details"]
    assert api.look(report.job_id)["status"] == "claimed"
    assert report("heartbeat", console_output="é" * 1_000_000).status_code == 200


def test_lone_surrogates_are_accepted(api, job_type):
    """Half a surrogate pair survives in parameters and results, and is replaced in texts."""
    body = b'{"job_type":"%s","input_params":{"v":"\\ud800a"}}' % job_type.encode()
    reply = api.submitter.post("/api/jobs/submit", data=body)
    assert reply.status_code == 201
    job_id = reply.json()["job_id"]
    api.job_ids.append(job_id)
    runner = api.runner(api.register())
    assert runner.post(f"/api/runner/jobs/{job_id}/claim").status_code == 200
    report = b'{"output_data":"\\udc00","console_output":"x\\ud800"}'
    assert runner.post(f"/api/runner/jobs/{job_id}/complete", data=report).status_code == 200
    job = api.look(job_id)
    assert (job["input_params"], job["output_data"]) == ({"v": "\ud800a"}, "\udc00")
    assert job["console_output"] == "x\ufffd"
