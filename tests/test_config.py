"""What a runner keeps in its directory: its id, the lock, and the check of the worker's URL."""

import json
import os
import re
import signal
import stat
import sys
import threading

import core_fixtures
import pytest
import requests
from core_fixtures import Process
from hypothesis import example, given
from hypothesis import strategies as st

from devaria.config import (
    CONFIG_FILE,
    RunnerConfig,
    RunnerSettings,
    checked_worker_url,
    directory_lock,
    new_runner_name,
    prepare_directory,
    write_atomically,
)
from devaria.errors import EXIT_LOCKED, BadSetting, DirectoryLocked

CONFIG = RunnerConfig("0b6f7f5e-0000-4000-8000-000000000001", "runner-here-0a1b2c3d")


def mode(path):
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


# --- the runner's file -----------------------------------------------------------------------


def test_a_saved_configuration_is_loaded_again(tmp_path):
    """What was saved comes back, from the file and the names that the issue gives."""
    CONFIG.save(tmp_path)

    assert RunnerConfig.load(tmp_path) == (CONFIG, None)
    content = json.loads((tmp_path / ".devaria_runner.json").read_text(encoding="utf-8"))
    assert content == {"runner_id": CONFIG.runner_id, "runner_name": CONFIG.runner_name}


def test_without_a_file_there_is_no_configuration(tmp_path):
    """A first start is nothing special."""
    assert RunnerConfig.load(tmp_path) == (None, None)


def test_the_file_is_readable_for_its_owner_only(tmp_path):
    """Whatever the umask says."""
    old = os.umask(0)
    try:
        CONFIG.save(tmp_path)
    finally:
        os.umask(old)

    assert mode(tmp_path / CONFIG_FILE) == 0o600


def test_a_host_name_beyond_ascii_does_not_make_the_file_corrupt(tmp_path):
    """Some systems allow such names; the runner must not register anew at each start for it."""
    config = RunnerConfig(CONFIG.runner_id, "runner-müller-pc-0a1b2c3d")
    config.save(tmp_path)

    assert RunnerConfig.load(tmp_path) == (config, None)


CORRUPT = {
    "empty": b"",
    "garbage": b"\x00\x01garbage",
    "half": b'{"runner_id": "r-1", "run',
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "no id": b'{"runner_name": "n"}',
    "no name": b'{"runner_id": "r-1"}',
    "null id": b'{"runner_id": null, "runner_name": "n"}',
    "empty id": b'{"runner_id": "", "runner_name": "n"}',
    "number as id": b'{"runner_id": 7, "runner_name": "n"}',
    "id with a line break": b'{"runner_id": "r\\nX-Evil: 1", "runner_name": "n"}',
    "id beyond ASCII": b'{"runner_id": "r\\u00e9", "runner_name": "n"}',
    "null name": b'{"runner_id": "r-1", "runner_name": null}',
    "bad UTF-8": b'{"runner_id": "r-\xff", "runner_name": "n"}',
    "UTF-16": '{"runner_id": "r-1", "runner_name": "n"}'.encode("utf-16"),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT)
def test_a_corrupt_file_is_set_aside_and_named(tmp_path, content):
    """It is kept under a new name that says when, and the runner starts anew."""
    path = tmp_path / CONFIG_FILE
    path.write_bytes(content)

    config, aside = RunnerConfig.load(tmp_path)

    assert config is None
    assert re.fullmatch(r"\.devaria_runner\.json\.corrupt-\d{8}-\d{6}", aside.name)
    assert aside.read_bytes() == content
    assert not path.exists()


def test_a_directory_in_the_files_place_is_set_aside(tmp_path):
    """With all that is in it."""
    (tmp_path / CONFIG_FILE).mkdir()
    (tmp_path / CONFIG_FILE / "keep").touch()

    config, aside = RunnerConfig.load(tmp_path)

    assert config is None
    assert (aside / "keep").exists()


def test_a_file_that_cannot_be_read_is_the_operators_to_mend(tmp_path):
    """It may be right: it is not replaced."""
    # A link to itself, since root may read everything.
    (tmp_path / CONFIG_FILE).symlink_to(CONFIG_FILE)

    with pytest.raises(BadSetting, match=r"cannot read .*\.devaria_runner\.json: "):
        RunnerConfig.load(tmp_path)
    assert (tmp_path / CONFIG_FILE).is_symlink()


def test_a_file_that_cannot_be_written_is_the_operators_to_mend(tmp_path):
    """The text names the file and what to do."""
    with pytest.raises(BadSetting, match=r"cannot write .*--dir"):
        CONFIG.save(tmp_path / "gone")


def test_readers_see_the_old_or_the_new_content(tmp_path):
    """A file that is replaced again and again is whole at every moment."""
    path = tmp_path / "file"
    contents = [b"a" * 50_000, b"b" * 70_000]
    write_atomically(path, contents[0])

    def write_on():
        for turn in range(40):
            write_atomically(path, contents[turn % 2])

    writer = threading.Thread(target=write_on)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()

    assert seen <= set(contents)


def test_a_write_that_fails_leaves_the_old_content(tmp_path):
    """A disk that is full, here a limit on file sizes, does not cost what was there."""
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from devaria.config import write_atomically\n"
        "path = Path(sys.argv[1]); write_atomically(path, b'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: write_atomically(path, b'new' * 10)\n"
        "except OSError: print('refused')\n"
    )
    with Process("-c", program, str(tmp_path / "file")) as process:
        assert process.wait() == 0
        assert process.output == "refused\n"

    assert (tmp_path / "file").read_bytes() == b"old"


# --- directory and lock ----------------------------------------------------------------------

HOLD_THE_LOCK = (
    "import sys, time; from pathlib import Path\n"
    "from devaria.config import directory_lock\n"
    "with directory_lock(Path(sys.argv[1])):\n"
    "    print('locked', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_directory_is_for_one_runner_until_its_process_ends(tmp_path):
    """The second is told who holds it; a holder that was killed leaves no lock behind."""
    with Process("-c", HOLD_THE_LOCK, str(tmp_path)) as holder:
        holder.wait_for_line("locked")

        text = rf"another runner \(process {holder.pid}\)"
        with pytest.raises(DirectoryLocked, match=text), directory_lock(tmp_path):
            pass
        holder.signal(signal.SIGKILL)
        holder.wait()

    with directory_lock(tmp_path):
        pass
    with directory_lock(tmp_path):
        pass


def test_a_lock_that_cannot_be_taken_is_another_message(tmp_path):
    """The remedies differ from those where another runner holds it."""
    (tmp_path / ".devaria_runner.lock").mkdir()

    with pytest.raises(BadSetting, match="cannot lock") as raised, directory_lock(tmp_path):
        pass
    assert raised.value.exit_code != EXIT_LOCKED


def test_the_directory_is_made_with_its_parents(tmp_path):
    """And may be there already."""
    prepare_directory(tmp_path / "a" / "b")
    prepare_directory(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_no_directory(tmp_path):
    """The text names it."""
    (tmp_path / "file").touch()

    with pytest.raises(BadSetting, match=r"cannot use .*file"):
        prepare_directory(tmp_path / "file")


def test_names_are_of_their_form_and_new_each_time():
    """`runner-<hostname>-<8 hex digits>`."""
    first, second = new_runner_name(), new_runner_name()

    assert re.fullmatch(r"runner-.+-[0-9a-f]{8}", first)
    assert first != second


def test_settings_do_not_show_their_secrets(tmp_path):
    """Neither in a repr nor to the log: all keys are known as secrets."""
    environ = {"DEVARIA_SUBMIT_API_KEY": " s-key ", "FIGPACK_API_KEY": "f-key", "HOME": "/home"}
    settings = RunnerSettings("https://w", "r-key", tmp_path, environ=environ)

    assert {"r-key", "s-key", "f-key"} <= set(settings.secrets)
    assert "key" not in repr(settings).replace("api_key", "")


# --- the worker's URL ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://worker.example.org", "https://worker.example.org"),
        ("https://worker.example.org/", "https://worker.example.org"),
        (" https://worker.example.org:8443/prefix/ \n", "https://worker.example.org:8443/prefix"),
        ("HTTPS://worker.example.org", "HTTPS://worker.example.org"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://worker.localhost", "http://worker.localhost"),
        ("http://[::1]:8787", "http://[::1]:8787"),
    ],
)
def test_urls_that_keep_the_key_are_taken(url, checked):
    """That is, https to anywhere, http to this machine; what surrounds them is dropped."""
    assert checked_worker_url(url) == checked


@pytest.mark.parametrize(
    "url",
    [
        "http://worker.example.org",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://10.0.0.1",
        "http://0.0.0.0:8787",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_to_another_machine_needs_insecure(url):
    """The key would be shown to the network; names that only look like this machine's, too."""
    with pytest.raises(BadSetting, match="--insecure"):
        checked_worker_url(url)
    assert checked_worker_url(url, insecure=True) == url


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "worker.example.org",
        "localhost:8787",
        "ftp://worker.example.org",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://:443",
        "https://worker.example.org:port",
        "https://worker.example.org:99999",
        "https://worker.example.org:0",
        "https://[::1",
        "https://user:password@worker.example.org",
        "http://example.org\\@localhost",
        "https://worker.example.org?x=1",
        "https://worker.example.org/#x",
        "https://worker example.org",
        "https://worker..example.org",
    ],
)
def test_what_no_path_can_be_put_after_is_refused(url, insecure):
    """The text shows the form that is wanted."""
    with pytest.raises(BadSetting, match="of the form"):
        checked_worker_url(url, insecure=insecure)


@core_fixtures.thorough
@given(
    st.one_of(
        st.text(),
        st.text().map(lambda text: "https://" + text),
        st.from_regex(r"https?://[a-z0-9.@:\[\]\\/?#% _-]{0,20}", fullmatch=True),
    )
)
@example("https://" + "a" * 64 + ".org")
@example("https://xn--a")
@example("https://.org")
@example("https://[v1.x]")
def test_a_url_is_refused_or_requests_can_use_it(url):
    """Nothing between: what is taken at the start must not fail at every poll."""
    try:
        checked = checked_worker_url(url)
    except BadSetting:
        return
    prepared = requests.Request("GET", checked + "/api/x").prepare()  # raises what it cannot use
    assert prepared.url.endswith("/api/x")
