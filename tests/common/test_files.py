"""The runner's directory and its lock, and files that are replaced atomically."""

import os
import signal
import sys
import tempfile
import threading

import pytest
from core_fixtures import Process

from devaria.common.errors import EXIT_LOCKED, BadSetting, DirectoryLocked
from devaria.common.files import (
    directory_lock,
    filled_in,
    is_locked,
    prepare_directory,
    set_aside,
    write_atomically,
)


def test_readers_see_the_old_or_the_new_content(tmp_path):
    """A file that is replaced again and again is complete at every moment."""
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
    """A full disk, here a limit on file sizes, does not destroy the old content."""
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from devaria.common.files import write_atomically\n"
        "path = Path(sys.argv[1]); write_atomically(path, b'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: write_atomically(path, b'new' * 10)\n"
        "except OSError: print('refused')\n"
    )
    with Process("-c", program, str(tmp_path / "file")) as process:
        assert process.wait() == 0
        assert process.output == "refused\n"

    assert (tmp_path / "file").read_bytes() == b"old"


WITHOUT_RIGHTS = """
import os, sys
import filelock
from pathlib import Path
from devaria.common.files import LOCK_FILE, directory_lock, open_regular, read_regular
if os.getuid() == 0:  # now, since that user may not be able to import anything
    os.setuid(65534)
directory = Path(sys.argv[1])
for name in (LOCK_FILE, "file", "link"):
    path = directory / name
    path.symlink_to("kept") if name == "link" else path.write_text("content")
    if name != "link":
        path.chmod(0)
(directory / "kept").touch(mode=0)
with directory_lock(directory):
    print("locked")
print(read_regular(directory / "file", 100).decode())
try:
    open_regular(directory / "link", os.O_RDONLY)
except OSError:
    print(oct((directory / "kept").stat().st_mode & 0o777))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="files are opened without any right")
def test_rights_that_a_job_has_taken_away_are_given_back():
    """Root has all rights; so another user does this. What a link leads to stays as it is."""
    with tempfile.TemporaryDirectory() as directory:  # that user may not enter `tmp_path`
        os.chmod(directory, 0o777)  # noqa: PTH101 - for that other user
        with Process("-c", WITHOUT_RIGHTS, directory) as process:
            code = process.wait()
        assert (code, process.output) == (0, "locked\ncontent\n0o0\n")


# --- directory and lock ----------------------------------------------------------------------

HOLD_THE_LOCK = (
    "import sys, time; from pathlib import Path\n"
    "from devaria.common.files import directory_lock\n"
    "with directory_lock(Path(sys.argv[1])):\n"
    "    print('locked', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_directory_is_for_one_runner_until_its_process_ends(tmp_path):
    """A second runner's error names who holds the lock. A killed runner leaves none behind."""
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
    """The advice differs from that for a lock which another runner holds."""
    # A name that is too long, since root may write everywhere.
    far = tmp_path / ("x" * 300)
    with pytest.raises(BadSetting, match="cannot lock") as raised, directory_lock(far):
        pass
    assert raised.value.exit_code != EXIT_LOCKED


def test_the_directory_is_made_with_its_parents(tmp_path):
    """The directory may exist already."""
    prepare_directory(tmp_path / "a" / "b")
    prepare_directory(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_no_directory(tmp_path):
    """The message names it."""
    (tmp_path / "file").touch()

    with pytest.raises(BadSetting, match=r"cannot use .*file"):
        prepare_directory(tmp_path / "file")


def test_looking_at_the_lock_tells_and_changes_nothing(tmp_path):
    """`is_locked` returns whether the lock is held, and creates no lock file."""
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []

    with Process("-c", HOLD_THE_LOCK, str(tmp_path)) as holder:
        holder.wait_for_line("locked")
        assert is_locked(tmp_path)
        holder.signal(signal.SIGKILL)
        holder.wait()

    assert not is_locked(tmp_path)


def test_placeholders_give_each_runner_of_an_array_its_own_directory(monkeypatch):
    """The name of the host and the process id are filled in."""
    monkeypatch.setattr("socket.gethostname", lambda: "node7")

    assert str(filled_in("runners/{host}-{pid}")) == f"runners/node7-{os.getpid()}"


# --- what somebody else has planted ----------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")
@pytest.mark.parametrize("name", [".devaria_runner.lock", ".devaria_runner.pid"])
@pytest.mark.parametrize("what", ["link", "second name", "pipe", "folder"])
def test_what_is_no_lock_is_set_aside(tmp_path, name, what):
    """Taking a lock empties its file. So what it is a link to would be lost."""
    path, other = tmp_path / name, tmp_path / "other"
    other.write_text("precious")
    {
        "link": lambda: path.symlink_to(other),
        "second name": lambda: os.link(other, path),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[what]()

    assert not is_locked(tmp_path)
    with directory_lock(tmp_path) as aside:
        is_replaced = (name, what) == (".devaria_runner.pid", "second name")
        named = [each.name.partition(".corrupt-")[0] for each in aside]
        assert named == ([] if is_replaced else [name])
        assert is_locked(tmp_path)
        with pytest.raises(DirectoryLocked), directory_lock(tmp_path):
            pass
    assert other.read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="has other links")
def test_a_second_name_does_not_free_a_lock(tmp_path):
    """A job may give the lock one, which must not let a second runner in."""
    with directory_lock(tmp_path):
        os.link(tmp_path / ".devaria_runner.lock", tmp_path / "other")
        with pytest.raises(DirectoryLocked), directory_lock(tmp_path):
            pass


@pytest.mark.parametrize("name", ["n" * 255, "\u00e9" * 127])
def test_what_has_a_long_name_can_be_set_aside(tmp_path, name):
    """There is room for what is added to the name."""
    path = tmp_path / name
    path.write_text("kept")

    aside = set_aside(path)

    assert not path.exists()
    assert aside.read_text() == "kept"
