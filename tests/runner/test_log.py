"""The log: its form, its files, and what must never stand in it."""

import contextlib
import logging
import re
import subprocess
import sys
import threading

import core_fixtures
import pytest

from devaria.common.config import DEFAULT_LOG_FILE_BYTES
from devaria.common.errors import BadSetting
from devaria.runner.log import LOG_FILE, LOG_FILES_KEPT, set_up_logging

KEY = "key-5f1c"
LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (DEBUG|INFO|WARNING|ERROR|CRITICAL): (.*)")


@pytest.fixture
def logger():
    """The package's logger without the handlers of earlier tests; it is restored afterwards."""
    logger = logging.getLogger("devaria")
    hook, level, propagate = threading.excepthook, logger.level, logger.propagate
    logger.handlers.clear()
    yield logger
    for handler in logger.handlers:
        with contextlib.suppress(OSError):  # what a full disk did not take
            handler.close()
    logger.handlers.clear()
    logger.setLevel(level)
    logger.propagate = propagate
    threading.excepthook = hook


def lines_of(directory):
    """The log file's lines."""
    return (directory / LOG_FILE).read_text(encoding="utf-8").splitlines()


def messages_of(directory):
    """The log file's messages; each line must be of the form."""
    return [LINE.fullmatch(line).group(2) for line in lines_of(directory)]


# --- form and files --------------------------------------------------------------------------


def test_a_line_has_time_level_and_message_in_file_and_on_stdout(logger, tmp_path, capsys):
    """`[YYYY-MM-DD HH:MM:SS] LEVEL: Message`, the same in both places."""
    set_up_logging(tmp_path, verbose=False, secrets=[])

    logger.info("Job %s started", "j-1")
    logging.getLogger("devaria.runner.runner").warning("ü")

    lines = lines_of(tmp_path)
    assert [LINE.fullmatch(line).groups() for line in lines] == [
        ("INFO", "Job j-1 started"),
        ("WARNING", "ü"),
    ]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(("verbose", "expected"), [(False, ["shown"]), (True, ["hidden", "shown"])])
def test_details_are_logged_when_asked_for(logger, tmp_path, verbose, expected):
    """An idle runner logs nothing unless it is verbose."""
    set_up_logging(tmp_path, verbose=verbose, secrets=[])

    logger.debug("hidden")
    logger.info("shown")

    assert messages_of(tmp_path) == expected


def test_the_file_goes_on_where_an_earlier_run_ended(logger, tmp_path):
    """A restart keeps the lines that are there."""
    (tmp_path / LOG_FILE).write_text("[2026-01-01 00:00:00] INFO: before\n", encoding="utf-8")
    set_up_logging(tmp_path, verbose=False, secrets=[])

    logger.info("after")

    assert messages_of(tmp_path) == ["before", "after"]


def test_the_file_rotates_and_five_old_ones_are_kept(logger, tmp_path):
    """Each file is within the size. Lines are lost only with the oldest file."""
    assert (DEFAULT_LOG_FILE_BYTES, LOG_FILES_KEPT) == (10_000_000, 5)
    set_up_logging(tmp_path, verbose=False, secrets=[], file_bytes=1_000)

    for number in range(200):
        logger.info("line %d", number)

    names = [LOG_FILE] + [f"{LOG_FILE}.{number}" for number in range(1, 6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).stat().st_size <= 1_000 for name in names)
    kept = [
        line
        for name in reversed(names)
        for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()
    ]
    numbers = [int(LINE.fullmatch(line).group(2).split()[1]) for line in kept]
    assert numbers == list(range(numbers[0], 200))


def test_a_log_file_that_cannot_be_opened_is_the_operators_to_mend(tmp_path):
    """The text names the file."""
    with pytest.raises(BadSetting, match=rf"cannot write the log file .*{LOG_FILE}"):
        set_up_logging(tmp_path / "gone", verbose=False, secrets=[])


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits on file sizes")
def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path):
    """The console, here a pipe, still gets every line. A limit on file sizes acts as the disk."""
    program = (
        "import logging, resource, sys; from pathlib import Path\n"
        "from devaria.runner.log import set_up_logging\n"
        "set_up_logging(Path(sys.argv[1]), verbose=False, secrets=[])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "for number in range(3): logging.getLogger('devaria').info('line %d', number)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=core_fixtures.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.count("cannot write") == 1


def test_a_closed_terminal_stops_nothing(tmp_path):
    """The file still gets every line."""
    program = (
        "import logging, sys; from pathlib import Path\n"
        "from devaria.runner.log import set_up_logging\n"
        "set_up_logging(Path(sys.argv[1]), verbose=False, secrets=[])\n"
        "logging.getLogger('devaria').info('before'); sys.stdin.read()\n"
        "for number in range(3): logging.getLogger('devaria').info('after %d', number)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env=core_fixtures.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        process.stdin.close()
        process.wait(core_fixtures.PATIENCE_SEC)

    assert messages_of(tmp_path) == ["before", "after 0", "after 1", "after 2"]


@pytest.mark.usefixtures("logger")
def test_an_error_that_kills_a_thread_is_in_the_log(tmp_path):
    """The log has the error's traceback."""
    set_up_logging(tmp_path, verbose=False, secrets=[])

    thread = threading.Thread(target=lambda: 1 // 0)
    thread.start()
    thread.join()

    lines = lines_of(tmp_path)
    assert LINE.fullmatch(lines[0]).groups() == ("CRITICAL", "unexpected error")
    assert "ZeroDivisionError" in lines[-1]


# --- what a stranger may not do --------------------------------------------------------------

FORGED = "Alice\n[2026-01-01 00:00:00] INFO: Job j-1 reported as completed\r\x1b[2J\x9b\u202e"


def test_a_strangers_text_cannot_forge_a_line_or_steer_a_terminal(logger, tmp_path):
    """Line breaks and control characters are shown as escapes."""
    set_up_logging(tmp_path, verbose=False, secrets=[])

    logger.info("Hello, %s!", FORGED)

    (message,) = messages_of(tmp_path)
    assert message == (
        r"Hello, Alice\n[2026-01-01 00:00:00] INFO: Job j-1 reported as completed"
        r"\x0d\x1b[2J\x9b\u202e!"
    )


def test_a_strangers_text_in_a_traceback_cannot_forge_a_line(logger, tmp_path):
    """A traceback has several lines; all but its first are indented."""
    set_up_logging(tmp_path, verbose=False, secrets=[])

    try:
        raise RuntimeError(FORGED)
    except RuntimeError:
        logger.exception("it broke for %s", FORGED)

    lines = lines_of(tmp_path)
    assert len(lines) > 3
    assert LINE.fullmatch(lines[0])
    assert all(line.startswith("    ") for line in lines[1:])


# --- secrets ---------------------------------------------------------------------------------


def test_the_logs_secrets_are_cut_out_of_arguments_and_tracebacks(logger, tmp_path, capsys):
    """This holds for the file and for stdout."""
    set_up_logging(tmp_path, verbose=True, secrets=[KEY])

    try:
        raise RuntimeError(f"sent {KEY}")
    except RuntimeError:
        logger.exception("with %s", KEY)

    assert "sent ***" in capsys.readouterr().out
    assert KEY not in (tmp_path / LOG_FILE).read_text(encoding="utf-8")
