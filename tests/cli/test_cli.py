"""The `devaria` command, through real processes."""

import json
import os
import signal
import sys

import pytest
from core_fixtures import KEY, Process, devaria
from scripted_server import as_json, html, ok

COMMANDS = [[], ["runner"], ["submit"], ["worker"], ["demo"]]
SUBMIT = "POST /api/jobs/submit"

KEYS = {"DEVARIA_RUNNER_API_KEY": KEY, "DEVARIA_SUBMIT_API_KEY": KEY}


def ended(*arguments, **variables):
    """Run a command with both keys to its end; it must not print a traceback."""
    result = devaria(*arguments, **{**KEYS, **variables})
    assert "Traceback" not in result.stderr + result.stdout
    return result


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_a_help_with_examples(command):
    """The help needs no key and ends with examples."""
    result = devaria(*command, "--help")

    assert result.returncode == 0
    assert "\n  Examples:\n    devaria " in result.stdout


def test_the_runners_help_names_every_environment_variable():
    """An operator who writes a service file finds the variables there."""
    text = devaria("runner", "--help").stdout

    names = "WORKER_URL DIR TYPES POLL_INTERVAL BURST MAX_JOBS JOB_TIMEOUT MAX_JOB_MEMORY HANDLERS"
    for name in [*names.split(), "INSECURE", "VERBOSE"]:
        assert f"DEVARIA_{name}" in text
    assert "DEVARIA_RUNNER_API_KEY" in text


def test_the_version_is_the_packages():
    """`devaria --version` prints the package's version."""
    from devaria import __version__

    assert __version__ in devaria("--version").stdout


LOADED = """
import sys
import devaria
from devaria.cli import main

for command in ([], ["runner"], ["submit"], ["worker"], ["demo"]):
    main([*command, "--help"], standalone_mode=False)
heavy = {"numpy", "figpack", "h5py", "flask", "waitress", "requests", "psutil", "filelock"}
print("loaded:", sorted(heavy & set(sys.modules)))
"""


def test_help_loads_none_of_the_heavy_packages():
    """The help needs only click, so that it is quick and runs with the core alone."""
    with Process("-c", LOADED) as process:
        assert process.wait() == 0
        assert process.lines[-1] == "loaded: []\n"


# --- keys and URLs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["runner"], "DEVARIA_RUNNER_API_KEY"),
        (["submit", "hello_world"], "DEVARIA_SUBMIT_API_KEY"),
    ],
)
@pytest.mark.parametrize("value", [None, " \n"])
def test_a_missing_key_is_said_with_the_line_that_sets_it(tmp_path, arguments, variable, value):
    """The message goes to stderr, the exit code is 3, and no file is written."""
    result = devaria(*arguments, cwd=tmp_path, **({} if value is None else {variable: value}))

    assert result.returncode == 3
    assert f"    export {variable}=<your key>\n" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["key\nX-Evil: 1", "kлюч", "“key”"])
def test_a_key_that_no_header_can_carry_is_the_operators_to_mend(key):
    """The message names the variable and does not show the key."""
    result = ended("submit", "hello_world", DEVARIA_SUBMIT_API_KEY=key)

    assert result.returncode == 7
    assert "DEVARIA_SUBMIT_API_KEY holds characters that a key cannot have" in result.stderr
    assert key not in result.stderr


@pytest.mark.parametrize("command", [["runner"], ["submit", "hello_world"]], ids=" ".join)
@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("worker.example.org", "of the form https://host[:port]"),
        ("http://worker.example.org", "--insecure"),
    ],
)
def test_a_url_that_is_wrong_or_shows_the_key_is_refused(command, url, text):
    """The command ends before it sends anything."""
    result = ended(*command, "--worker-url", url)

    assert result.returncode == 7
    assert text in result.stderr


def test_insecure_takes_plain_http_to_another_host():
    """Both the option and the variable work; the host name does not exist."""
    url = ("--worker-url", "http://no-such-host.invalid")

    assert ended("submit", "hello_world", *url, "--insecure").returncode == 5
    assert ended("submit", "hello_world", *url, DEVARIA_INSECURE="1").returncode == 5


# --- the runner's options --------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--poll-interval", "0"],
        ["--poll-interval", "nan"],
        ["--poll-interval", "soon"],
        ["--max-jobs", "0"],
        ["--job-timeout", "0.5"],
        ["--job-timeout", "nan"],
        ["--max-job-memory", "0"],
        ["--max-job-memory", "nan"],
        ["--max-job-disk", "0"],
        ["--no-such-option"],
        ["argument"],
    ],
    ids=" ".join,
)
def test_a_bad_option_is_clicks_own_error(arguments):
    """The message names the option, the exit code is click's, and nothing starts."""
    result = ended("runner", *arguments)

    assert result.returncode == 2
    assert arguments[0] in result.stderr


def test_a_bad_environment_variable_is_named():
    """The message names the option that the variable sets."""
    result = ended("runner", DEVARIA_POLL_INTERVAL="soon")

    assert result.returncode == 2
    assert "--poll-interval" in result.stderr


def test_an_unknown_job_type_is_said_with_those_there_are(tmp_path):
    """A misspelt type must not make a runner that waits for ever."""
    result = ended("runner", "--types", "hello_wordl", "--dir", str(tmp_path))

    assert result.returncode == 7
    assert "unknown job type 'hello_wordl'; there are: hello_world, " in result.stderr


def test_a_directory_that_cannot_be_used_is_said(tmp_path):
    """The message names it."""
    (tmp_path / "file").touch()

    result = ended("runner", "--dir", str(tmp_path / "file"))

    assert result.returncode == 7
    assert f"cannot use {tmp_path / 'file'}" in result.stderr


@pytest.mark.parametrize(
    ("handlers", "job_type", "reason"),
    [
        ("nonsense", "nonsense", "it is not of the form"),
        ("a=no_such_module:X", "a", "No module named 'no_such_module'"),
        ("hello_world=json:X", "hello_world", "taken twice: by devaria and by --handlers"),
    ],
)
def test_handlers_that_cannot_be_loaded_are_the_operators_to_mend(
    tmp_path, handlers, job_type, reason
):
    """The log says why the type is not offered; without another type, the runner ends."""
    result = ended("runner", "--handlers", handlers, "--types", job_type, "--dir", str(tmp_path))

    assert result.returncode == 7
    assert f"Job type {job_type} is not offered: " in result.stdout
    assert reason in result.stdout
    assert "no job type can run here" in result.stderr


# --- submit ----------------------------------------------------------------------------------


def submit(server, *arguments, **variables):
    """Submit to the scripted server."""
    return ended("submit", "hello_world", *arguments, DEVARIA_WORKER_URL=server.url, **variables)


def test_submit_sends_parameters_and_prints_id_and_status(server):
    """Pairs override the object."""
    server.on(SUBMIT, as_json({"job_id": "j-1", "status": "pending"}, 201))

    result = submit(server, "-p", "name=Alice", "-p", "n=3", "--params", '{"n": 1, "x": [1]}')

    assert (result.returncode, result.stdout) == (0, "Job j-1: pending\n")
    assert server.wait_for(SUBMIT).json == {
        "job_type": "hello_world",
        "input_params": {"name": "Alice", "n": 3, "x": [1]},
    }


def test_an_option_comes_before_the_environment(server):
    """The option wins; every other test here shows that the environment beats the default."""
    server.on(SUBMIT, ok(job_id="j-1", status="pending"))

    wrong = {"DEVARIA_WORKER_URL": "http://no-such-host.invalid"}
    result = ended("submit", "hello_world", "--worker-url", server.url, **wrong)

    assert result.returncode == 0


def test_parameters_are_read_from_a_file(server, tmp_path):
    """`@` and a file name stand for the content of the file, as in curl."""
    server.on(SUBMIT, ok(job_id="j-1", status="pending"))
    (tmp_path / "params.json").write_text('{"name": "Zoë"}', encoding="utf-8")

    submit(server, "--params", f"@{tmp_path / 'params.json'}")

    assert server.wait_for(SUBMIT).json["input_params"] == {"name": "Zoë"}


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are bytes on POSIX")
def test_an_argument_that_is_no_utf8_is_submitted(server):
    """The bytes are sent as lone surrogates, which the worker replaces with U+FFFD."""
    server.on(SUBMIT, ok(job_id="j-1", status="pending"))

    assert submit(server, "-p", "name=" + os.fsdecode(b"\xff")).returncode == 0
    assert server.wait_for(SUBMIT).json["input_params"] == {"name": "\udcff"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--params", "{"],
        ["--params", "[1]"],
        ["--params", '{"a": NaN}'],
        ["--params", '{"a": 1e999}'],
        ["--params", "[" * 5_000],
        ["--params", "@no/such/file"],
        ["-p", "name"],
    ],
    ids=lambda arguments: arguments[1][:15],
)
def test_parameters_that_cannot_be_read_are_wrong_usage(server, arguments):
    """One line says why, and nothing is sent."""
    result = submit(server, *arguments)

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert server.requests == []


def test_a_refused_key_has_its_exit_code(server):
    """The exit code is 4, and the message has the worker's text."""
    server.on(SUBMIT, as_json({"error": "Invalid API key"}, 401))

    result = submit(server)

    assert result.returncode == 4
    assert "401 Invalid API key" in result.stderr


def test_a_page_instead_of_an_answer_is_quoted(server):
    """The message has the URL, the status, the content type and the beginning of the page."""
    server.on(SUBMIT, html())

    result = submit(server)

    assert result.returncode == 5
    assert f"{server.url}/api/jobs/submit" in result.stderr
    assert "200 text/html: '<html><h1>Please log in" in result.stderr


def test_an_unreachable_worker_has_its_exit_code(closed_port):
    """The exit code is 5 at once: a person waits, so submitting is not tried again."""
    result = ended("submit", "x", "--worker-url", f"http://127.0.0.1:{closed_port}")

    assert result.returncode == 5
    assert "refused" in result.stderr


def test_a_workers_error_text_does_not_reach_the_terminal_raw(server):
    """Escape sequences are shown as text."""
    server.on(SUBMIT, as_json({"error": "no\x1b[2J"}, 400))

    result = submit(server)

    assert r"no\x1b[2J" in result.stderr
    assert "\x1b" not in result.stderr


def state(status, **fields):
    """Return an answer with the job in a state."""
    return ok(job_id="j-1", status=status, **fields)


def test_wait_shows_progress_and_prints_the_result_alone_on_stdout(server):
    """The rest goes to stderr, so that the result can be piped."""
    server.on(SUBMIT, as_json({"job_id": "j-1", "status": "pending"}, 201))
    server.on(
        "GET /api/jobs/j-1",
        state("in_progress", progress={"current": 1, "total": 2}),
        state("completed", result={"output_data": {"message": "Zoë"}, "console_output": ""}),
    )

    result = submit(server, "--wait")

    assert result.returncode == 0
    assert json.loads(result.stdout) == {"message": "Zoë"}
    assert "Job j-1: pending" in result.stderr


def test_wait_for_a_job_that_fails_exits_1_with_its_error(server):
    """Control characters in the error are escaped."""
    server.on(SUBMIT, state("pending"))
    server.on("GET /api/jobs/j-1", state("failed", error="it broke\x1b[2J"))

    result = submit(server, "--wait")

    assert (result.returncode, result.stdout) == (1, "")
    assert r"Job j-1 failed: it broke\x1b[2J" in result.stderr


def test_ctrl_c_ends_a_wait(server):
    """The exit code is 130, and there is no traceback."""
    server.on(SUBMIT, state("pending"))
    server.on("GET /api/jobs/j-1", state("pending"))
    arguments = ("-m", "devaria", "submit", "x", "--wait", "--worker-url", server.url)
    with Process(*arguments, variables=KEYS) as process:
        server.wait_for("GET /api/jobs/j-1", 2)
        process.signal(signal.SIGINT)

        assert process.wait() == 130
        assert "Traceback" not in process.output
