"""Folders that jobs have written are removed, whatever is in them, and through no link."""

import os
import socket
import sys

import pytest
from core_fixtures import Process

from devaria.common import folders
from devaria.common.folders import remove_folder, temporary_folder

#: Deeper than Python's recursion, than the open files of a process, and than the longest path.
DEPTH = 1_500

BY_PATH = pytest.param(False, id="by path")
WAYS = [pytest.param(True, id="by descriptor"), BY_PATH] if folders._BY_DESCRIPTOR else [BY_PATH]


@pytest.fixture(params=WAYS)
def _way(request, monkeypatch):
    """Remove by descriptor, and as Windows must."""
    monkeypatch.setattr(folders, "_BY_DESCRIPTOR", request.param)


def nest(folder, depth, name="d"):
    """Make a folder in a folder, this deep, with a file in each."""
    folder.mkdir()
    inside = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
        os.mkdir(name, dir_fd=inside)
        below = os.open(name, os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = below
    os.close(inside)


@pytest.mark.skipif(not folders._BY_DESCRIPTOR, reason="cannot make such folders here")
@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("name", ["d", "n" * 200])
def test_a_folder_of_any_depth_is_removed(tmp_path, name):
    """Neither recursion nor open files nor the length of a path limit it."""
    nest(tmp_path / "deep", DEPTH, name)

    assert remove_folder(tmp_path / "deep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_way")
@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")
def test_links_and_odd_things_go_and_what_they_lead_to_stays(tmp_path):
    """A link to a folder is removed as a link, at the top and below."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    for place in (top, top / "a", top / "a" / "b"):
        (place / "link").symlink_to(tmp_path / "kept")
        (place / "dangling").symlink_to("nowhere")
        os.mkfifo(place / "pipe")
        os.link(tmp_path / "kept" / "file", place / "second name")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(top / "socket"))
    (top / "a" / "locked").mkdir(mode=0)
    (tmp_path / "link").symlink_to(tmp_path / "kept")

    assert all(remove_folder(path) for path in (top, tmp_path / "link", tmp_path / "missing"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_text() == "kept"


AS_NOBODY = """
import logging, os, sys
from pathlib import Path
from devaria.common.folders import remove_folder
logging.basicConfig(stream=sys.stdout, format="%(message)s")
if os.getuid() == 0:
    os.setgroups([])
    os.setuid(65534)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="rights as POSIX has them")
def test_rights_that_a_job_has_taken_away_do_not_protect_its_folders(tmp_path):
    """Their owner is the user whose runner removes them."""
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    program = AS_NOBODY + (
        "top = Path(sys.argv[1]) / 'top'\n"
        "(top / 'a' / 'b' / 'c').mkdir(parents=True)\n"
        "(top / 'a' / 'b' / 'file').touch()\n"
        "for each, mode in ((top / 'a' / 'b' / 'c', 0o200), (top / 'a' / 'b', 0), (top, 0o500)):\n"
        "    each.chmod(mode)\n"
        "print(remove_folder(top), top.exists())\n"
    )
    with Process("-c", program, str(tmp_path)) as process:
        assert process.wait() == 0, process.output
        assert process.output == "True False\n"


@pytest.mark.skipif(sys.platform == "win32", reason="rights as POSIX has them")
def test_what_cannot_be_removed_is_said_and_left(tmp_path):
    """The rest goes."""
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    (tmp_path / "top" / "b").mkdir(parents=True)
    (tmp_path / "top" / "b" / "foreign").touch()
    (tmp_path / "top").chmod(0o777)
    (tmp_path / "top" / "a").touch()
    if os.getuid() != 0:
        pytest.skip("only root can make files of another user")
    program = AS_NOBODY + "print(remove_folder(Path(sys.argv[1])))\n"
    with Process("-c", program, str(tmp_path / "top")) as process:
        assert process.wait() == 0, process.output
        said, returned = process.output.splitlines()

    assert said.startswith(f"cannot remove {tmp_path / 'top'}: ")
    assert returned == "False"
    assert [path.name for path in (tmp_path / "top").iterdir()] == ["b"]


def test_a_temporary_folder_goes_with_its_block():
    """Also if the block raises."""

    def work():
        with temporary_folder("devaria-test-") as folder:
            (folder / "file").touch()
            raise FileExistsError(folder)

    with pytest.raises(FileExistsError) as raised:
        work()
    (folder,) = raised.value.args
    assert folder.name.startswith("devaria-test-")
    assert not folder.exists()
