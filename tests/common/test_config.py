"""What a runner keeps in its directory: its id, the lock, and the check of the worker's URL."""

import json
import os
import re
import stat
import sys

import core_fixtures
import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from devaria.common.config import (
    CONFIG_FILE,
    RunnerConfig,
    RunnerSettings,
    checked_worker_url,
    new_runner_name,
)
from devaria.common.errors import BadSetting

CONFIG = RunnerConfig("0b6f7f5e-0000-4000-8000-000000000001", "runner-here-0a1b2c3d")


def mode(path):
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


# --- the runner's file -----------------------------------------------------------------------


def test_a_saved_configuration_is_loaded_again(tmp_path):
    """What was saved comes back, from the file and its documented names."""
    CONFIG.save(tmp_path)

    assert RunnerConfig.load(tmp_path) == (CONFIG, None)
    content = json.loads((tmp_path / ".devaria_runner.json").read_text(encoding="utf-8"))
    assert content == {"runner_id": CONFIG.runner_id, "runner_name": CONFIG.runner_name}


def test_without_a_file_there_is_no_configuration(tmp_path):
    """A first start is nothing special."""
    assert RunnerConfig.load(tmp_path) == (None, None)


def test_the_file_is_readable_for_its_owner_only(tmp_path):
    """This holds whatever the umask is."""
    old = os.umask(0)
    try:
        CONFIG.save(tmp_path)
    finally:
        os.umask(old)

    assert mode(tmp_path / CONFIG_FILE) == 0o600


def test_a_host_name_beyond_ascii_does_not_make_the_file_corrupt(tmp_path):
    """Some systems allow such names. The runner must not register again at each start."""
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
    """It is kept under a new name with the time in it."""
    path = tmp_path / CONFIG_FILE
    path.write_bytes(content)

    config, aside = RunnerConfig.load(tmp_path)

    assert config is None
    assert re.fullmatch(r"\.devaria_runner\.json\.corrupt-\d{8}-\d{6}", aside.name)
    assert aside.read_bytes() == content
    assert not path.exists()


def test_a_directory_in_the_files_place_is_set_aside(tmp_path):
    """Its content is kept."""
    (tmp_path / CONFIG_FILE).mkdir()
    (tmp_path / CONFIG_FILE / "keep").touch()

    config, aside = RunnerConfig.load(tmp_path)

    assert config is None
    assert (aside / "keep").exists()


def test_a_file_that_cannot_be_read_is_the_operators_to_mend(tmp_path):
    """It may be valid, so it is not replaced."""
    # A name that is too long, since root may read everything.
    with pytest.raises(BadSetting, match=r"cannot read .*\.devaria_runner\.json: "):
        RunnerConfig.load(tmp_path / ("x" * 300))


VALID = b'{"runner_id": "an id", "runner_name": "a name"}'


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")
@pytest.mark.parametrize("what", ["link", "dangling", "loop", "pipe", "null", "long"])
def test_what_is_no_file_of_the_runners_is_set_aside(tmp_path, what):
    """A job may have planted it. Nothing is read through a link, and nothing blocks."""
    path, other = tmp_path / CONFIG_FILE, tmp_path / "other"
    other.write_bytes(VALID)
    {
        "link": lambda: path.symlink_to(other),
        "dangling": lambda: path.symlink_to("nowhere"),
        "loop": lambda: path.symlink_to(path),
        "pipe": lambda: os.mkfifo(path),
        "null": lambda: path.symlink_to("/dev/null"),
        "long": lambda: path.write_bytes(VALID + b" " * 200_000),
    }[what]()

    config, aside = RunnerConfig.load(tmp_path)
    CONFIG.save(tmp_path)

    assert config is None
    assert aside.name.startswith(f"{CONFIG_FILE}.corrupt-")
    assert other.read_bytes() == VALID
    assert RunnerConfig.load(tmp_path) == (CONFIG, None)


def test_a_file_with_a_second_name_stays(tmp_path):
    """A back-up may have given it one. It is replaced, not changed, so the other one is safe."""
    CONFIG.save(tmp_path)
    os.link(tmp_path / CONFIG_FILE, tmp_path / "backup")
    assert RunnerConfig.load(tmp_path) == (CONFIG, None)


@pytest.mark.parametrize(
    ("runner_id", "name"),
    [
        ("line\nbreak", "a"),
        (" space", "a"),
        ("space ", "a"),
        ("\ud800", "a"),
        ("é", "a"),
        ("x" * 2_000, "a"),
        ("a", "line\nbreak"),
        ("a", "\ud800"),
        ("a", "\x1b[2J"),
    ],
)
def test_an_id_that_no_header_can_carry_is_set_aside(tmp_path, runner_id, name):
    """The runner would try to send it for ever."""
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"runner_id": runner_id, "runner_name": name}))

    config, aside = RunnerConfig.load(tmp_path)

    assert config is None
    assert aside is not None


@pytest.mark.skipif(sys.platform == "win32", reason="links as POSIX has them")
@pytest.mark.parametrize("suffix", ["", ".new"])
def test_saving_follows_no_link(tmp_path, suffix):
    """What a planted link leads to stays as it is, and so does a folder's content."""
    (tmp_path / "other").write_text("precious")
    (tmp_path / f"{CONFIG_FILE}{suffix}").symlink_to("other")
    CONFIG.save(tmp_path)
    assert (tmp_path / "other").read_text() == "precious"
    assert RunnerConfig.load(tmp_path) == (CONFIG, None)

    (tmp_path / CONFIG_FILE).unlink()
    (tmp_path / f"{CONFIG_FILE}{suffix}" / "precious").mkdir(parents=True)
    CONFIG.save(tmp_path)
    assert RunnerConfig.load(tmp_path) == (CONFIG, None)
    assert len(list(tmp_path.rglob("precious"))) == 1


def test_a_file_that_cannot_be_written_is_the_operators_to_mend(tmp_path):
    """The text names the file and what to do."""
    with pytest.raises(BadSetting, match=r"cannot write .*--dir"):
        CONFIG.save(tmp_path / "gone")


def test_names_are_of_their_form_and_new_each_time():
    """The form is `runner-<hostname>-<8 hex digits>`."""
    first, second = new_runner_name(), new_runner_name()

    assert re.fullmatch(r"runner-.+-[0-9a-f]{8}", first)
    assert first != second


def test_settings_do_not_show_their_secrets(tmp_path):
    """No `repr` has them, and the log knows all keys as secrets."""
    keys = {"DEVARIA_SUBMIT_API_KEY": " s-key ", "NOTIFY_RELAY_SUBSCRIBE_KEY": "n-key"}
    environ = {**keys, "FIGPACK_API_KEY": "f-key", "HOME": "/home"}
    settings = RunnerSettings("https://w", "r-key", tmp_path, environ=environ)

    assert {"r-key", "s-key", "n-key", "f-key"} <= set(settings.secrets)
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
    """These are https to any host and http to this machine. White space is dropped."""
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
    """The network would see the key. Some names only look like this machine's."""
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
    """The message shows the right form."""
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
    """A URL that is accepted at the start must not fail at every poll."""
    try:
        checked = checked_worker_url(url)
    except BadSetting:
        return
    prepared = requests.Request("GET", checked + "/api/x").prepare()  # raises what it cannot use
    assert prepared.url.endswith("/api/x")
