"""Whatever a reading process says that has been taken over, its parent gets an error or true types.

The child here is a real process. It answers what the request's path tells it to.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest
from job_processes import is_gone
from waiting import wait_until

from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.checks import checked_array, checked_node, checked_texts
from devaria.nwb.sandbox.parent import Opening
from devaria.nwb.sandbox.remote import RemoteNwb

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[RemoteNwb]:
    """Start a child that lies."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    opening = Opening("http://h/x", ReadLimits(max_read_bytes=1_000_000))
    with RemoteNwb(opening, tmp_path, environ, module="probing_child") as opened:
        yield opened


def array(**told: Any) -> Dict[str, Any]:
    """Return the event of an array of three numbers."""
    event = {"event": "array", "file": "values-1", "shape": [3], "dtype": "<f8", "whole": [3]}
    return {**event, **told}


def about(*shape: Any) -> Dict[str, Any]:
    """Return the event before the pieces of a dataset."""
    return {"event": "about", "shape": list(shape)}


def node(**told: Any) -> Dict[str, Any]:
    """Return the description of a group."""
    return {
        "path": "/x",
        "kind": "group",
        "children": {},
        "refused": {},
        "attributes": {},
        "neurodata_type": "",
        "shape": [],
        "dtype": "",
        "chunk_shape": [],
        "chunk_bytes": None,
        **told,
    }


def deep(levels: int) -> Dict[str, Any]:
    """Return a tree of groups."""
    return node(children={"x": deep(levels - 1)} if levels else {})


def wide(count: int) -> Dict[str, Any]:
    """Return a group with many children."""
    return node(children={str(number): node() for number in range(count)})


FILES = {"values-1": 24}

#: What is wrong in the event of an array.
ARRAYS: Dict[str, Dict[str, Any]] = {
    "short file": {"file": "values-2"},
    "path": {"file": "../values-1"},
    "empty name": {"file": ""},
    "no name": {"file": 1},
    "objects": {"dtype": "|O"},
    "texts": {"dtype": "<U2"},
    "records": {"dtype": [["a", "<f8"]]},
    "foreign bytes": {"dtype": ">f8"},
    "another type": {"dtype": "<i8"},
    "too few": {"shape": [2]},
    "other axes": {"shape": [3, 1]},
    "negative": {"shape": [-3], "whole": [-3]},
    "fraction": {"shape": [3.0], "whole": [3.0]},
    "boolean": {"shape": [True], "whole": [True]},
    "no shape": {"shape": None},
    "many axes": {"shape": [1] * 33, "whole": [1] * 33},
    "beyond all": {"shape": [2**70], "whole": [2**70]},
    "too large": {"shape": [10**6], "whole": [10**6]},
}


@pytest.mark.parametrize("told", ARRAYS.values(), ids=ARRAYS)
def test_an_array_is_what_was_asked_for(tmp_path: Path, told: Dict[str, Any]) -> None:
    """Its file, type, shape and length; else it is an error."""
    (tmp_path / "values-1").write_bytes(bytes(24))
    (tmp_path / "values-2").write_bytes(bytes(23))
    wanted: Any = (tmp_path, None, np.dtype("<f8"), 1000)
    assert checked_array(array(), *wanted).tolist() == [0.0] * 3
    with pytest.raises(NwbError, match=r"no valid .*: the file is damaged"):
        checked_array(array(**told), *wanted)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_only_plain_files_are_read(tmp_path: Path, kind: str) -> None:
    """Not what a link leads to, and a pipe is not waited for."""
    path = tmp_path / "values-1"
    if kind == "link":
        (tmp_path / "secret").write_bytes(bytes(24))
        path.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(NwbError, match="no valid file of values"):
        checked_array(array(), tmp_path, None, None, 1000)


def test_rows_and_types_are_those_asked_for(file: RemoteNwb, tmp_path: Path) -> None:
    """A right answer to another question is an error."""
    told = {"files": FILES, "events": [array(whole=[7])]}
    assert file.read(json.dumps(told), rows=slice(1, None, 2)).shape == (3,)
    for rows, dtype in ((slice(0, 2), None), (None, np.dtype("f4"))):
        with pytest.raises(NwbError, match="no valid"):
            checked_array(array(), tmp_path, rows, dtype, 1000)


#: What the child says and writes, for `read` of a dataset.
ANSWERS: Dict[str, Dict[str, Any]] = {
    "no array": {},
    "two arrays": {"files": FILES, "events": [array(), array()]},
    "a dataset to come": {"files": FILES, "events": [about(3), array()]},
    "an unheard event": {"events": [{"event": "unheard of", "text": "x"}]},
    "an odd event": {"events": [{"event": ["read"]}]},
}


@pytest.mark.parametrize("told", ANSWERS.values(), ids=ANSWERS)
def test_a_child_that_lies_is_ended(file: RemoteNwb, told: Dict[str, Any]) -> None:
    """Nothing is asked of it any more."""
    for _ in range(2):
        with pytest.raises(NwbError, match="no valid answer"):
            file.read(json.dumps(told))
    wait_until(lambda: is_gone(file.pid))


@pytest.mark.parametrize(("raw", "times"), [("x\n", 1), ("[1]\n", 1), ("x", 17_000_000)])
def test_a_line_that_is_no_event_is_a_lie(file: RemoteNwb, raw: str, times: int) -> None:
    """What was meant may have been the end of the answer, for which nobody waits in vain."""
    with pytest.raises(NwbError, match="no valid answer"):
        file.text(json.dumps({"raw": raw, "times": times}))
    wait_until(lambda: is_gone(file.pid))


def test_a_value_that_is_too_long_is_not_sent(file: RemoteNwb) -> None:
    """The file stays usable."""
    with pytest.raises(NwbError, match="too long to be told: ask for less of it"):
        file.text(json.dumps({"long": 16_000_000}))
    assert file.text(json.dumps({"value": ["x"]})) == ["x"]


#: The same for `batches`.
PIECES: Dict[str, Dict[str, Any]] = {
    "nothing": {},
    "no shape": {"files": FILES, "events": [array()]},
    "too many rows": {"files": FILES, "events": [about(2), array()]},
    "no rows": {"files": FILES, "events": [about(3), array(shape=[0])]},
    "too few rows": {"files": FILES, "events": [about(4), array(whole=[4])]},
    "other axes": {"files": FILES, "events": [about(3, 1), array()]},
    "a piece too much": {"files": FILES, "events": [about(3), array(), array()]},
}


@pytest.mark.parametrize("told", PIECES.values(), ids=PIECES)
def test_pieces_add_up(file: RemoteNwb, told: Dict[str, Any]) -> None:
    """Each piece fits, and all together are the rows."""
    with pytest.raises(NwbError, match="no valid"):
        list(file.batches(json.dumps(told)))


#: What is wrong in the description of a group, of which two levels are wanted.
NODES: Dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "no kind": node(kind="type"),
    "no path": node(path=7),
    "long path": node(path="x" * 50_000),
    "too deep": deep(3),
    "too many": wide(2_001),
    "odd child": node(children={"x": 1}),
    "odd children": node(children=[1]),
    "odd attribute": node(attributes={"x": None}),
    "deep attribute": node(attributes={"x": [[1]]}),
    "infinite attribute": node(attributes={"x": float("inf")}),
    "many attributes": node(attributes={str(number): 1 for number in range(300)}),
    "odd shape": node(kind="dataset", shape=[-1]),
    "odd type": node(kind="dataset", dtype=None),
    "odd chunk": node(kind="dataset", chunk_bytes="many"),
    "odd chunk shape": node(kind="dataset", chunk_shape=7),
    "odd reason": node(refused={"x": {}}),
}


@pytest.mark.parametrize("told", NODES.values(), ids=NODES)
def test_a_tree_is_no_deeper_and_wider_than_one_can_be(told: Any) -> None:
    """And each entry has its type."""
    with pytest.raises(NwbError, match="no valid"):
        checked_node(told, 2)


def test_a_true_tree_passes() -> None:
    """The lies above fail for what they say wrong."""
    told = node(children={"x": deep(1)}, attributes={"n": [1, 2.5, True, "a"]})
    found = checked_node(told, 2)
    assert found.attributes == {"n": [1, 2.5, True, "a"]}
    assert list(found.children["x"].children) == ["x"]


#: What is no list of texts.
TEXTS: Dict[str, Any] = {
    "nothing": None,
    "a text": "x",
    "a dict": {},
    "a number": [1],
    "null": [None],
    "too many": ["x"] * 10_001,
    "too long": ["x" * 50_000],
}


@pytest.mark.parametrize("told", TEXTS.values(), ids=TEXTS)
def test_texts_are_short_lists_of_texts(told: Any) -> None:
    """Anything else is an error."""
    with pytest.raises(NwbError, match="no valid"):
        checked_texts(told)


def test_odd_progress_and_lines_do_no_harm(tmp_path: Path) -> None:
    """Progress that is none is left out, and lines are printable."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    said: List[str] = []
    progress: List[Any] = []
    events = [
        {"event": "said", "text": "a\x1b[2J\nb"},
        {"event": "said", "text": {"x": 1}},
        *(
            {"event": "read", **told}
            for told in ({}, {"done": 2, "total": 1}, {"done": -1, "total": 1})
        ),
        {"event": "read", "done": "1", "total": 1},
        {"event": "read", "done": 1, "total": 2},
        array(),
    ]
    with RemoteNwb(
        Opening("http://h/x", ReadLimits()),
        tmp_path,
        environ,
        say=said.append,
        progress=lambda *news: progress.append(news),
        module="probing_child",
    ) as file:
        values = file.read(json.dumps({"files": FILES, "events": events}))
    np.testing.assert_array_equal(values, np.zeros(3))
    assert said == ["a\\x1b[2J\\x0ab", "{'x': 1}"]
    assert progress == [(1, 2)]
    assert list(tmp_path.glob("values-*")) == []


def test_whatever_stands_in_the_place_of_values_is_removed(tmp_path: Path) -> None:
    """A reader that a file has taken over may have put folders there, and links."""
    kept = tmp_path / "kept"
    kept.touch()
    folder = tmp_path / "folder"
    (folder / "values-3" / "a").mkdir(parents=True)
    (folder / "values-4").symlink_to(kept)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    opening = Opening("http://h/x", ReadLimits())
    with RemoteNwb(
        opening, folder, environ, say=print, progress=lambda *_: None, module="probing_child"
    ):
        pass
    assert list(folder.glob("values-*")) == []
    assert kept.exists()
