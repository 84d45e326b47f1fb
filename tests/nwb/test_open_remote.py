"""`open_remote` with a real child and a real server: what a handler sees of a remote file."""

import gc
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import h5py
import numpy as np
import psutil
import pytest
from range_server import LOOPBACK, RangeServer
from remote_values import file_bytes

import devaria.nwb
from devaria.nwb import open_remote
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.remote import RemoteNwb

RNG = np.random.default_rng(0)
DATA = np.cumsum(RNG.integers(-3, 4, (20_000, 3)), axis=0)
TIMES = np.arange(20_000) / 30


def write(file: h5py.File) -> None:
    """Write a file with some of all that there is."""
    series = file.create_group("acquisition/x")
    series.attrs.update(neurodata_type="TimeSeries", rate=30.0, n=np.int16(3), flags=[True, False])
    series.attrs["names"] = np.array(["a", "b"], dtype=h5py.string_dtype())
    series.attrs["nan"] = np.nan
    series.attrs["link"] = series.ref
    series.attrs["long"] = np.zeros(1000)
    series.create_dataset("data", data=DATA, compression="gzip", chunks=(999, 2))
    series["data"].attrs["unit"] = "mm"
    series["timestamps"] = TIMES
    other = file.create_group("processing/y")
    other["timestamps"] = h5py.SoftLink("/acquisition/x/timestamps")
    other["broken"] = h5py.SoftLink("/nowhere")
    other["far"] = h5py.ExternalLink("secret.nwb", "/x")
    other["odd\x1bname"] = 1
    other["table"] = np.zeros(3, [("a", "f8"), ("b", "i4")])
    other.create_dataset("names", data=["left", "right é"], dtype=h5py.string_dtype())
    other["fixed"] = np.array([b"a", b"bc"])
    other["one"] = "a text"
    other["number"] = np.float32(2.5)
    other["alias"] = other["names"]
    other["type"] = np.dtype("f8")
    other.create_dataset("reference", data=other.ref, dtype=h5py.ref_dtype)
    file["null"] = h5py.Empty("f8")


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the file."""
    with RangeServer({"/x.nwb": file_bytes(write)}) as running:
        yield running


@pytest.fixture(scope="module")
def file(server: RangeServer) -> Iterator[RemoteNwb]:
    """Open the file once for all tests that leave it open."""
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK) as opened:
        yield opened


def test_what_there_is(file: RemoteNwb) -> None:
    """Paths by type, and trees of plain values, as deep as asked."""
    assert file.find(["TimeSeries", "Other"]) == ["/acquisition/x"]
    assert file.find(["Nothing"]) == []
    node = file.look("acquisition/x")
    assert (node.path, node.kind, node.neurodata_type) == ("/acquisition/x", "group", "TimeSeries")
    assert node.attributes == {
        "neurodata_type": "TimeSeries",
        "rate": 30.0,
        "n": 3,
        "flags": [True, False],
        "names": ["a", "b"],
    }
    data = node.children["data"]
    assert (data.kind, data.shape, data.dtype) == ("dataset", (20_000, 3), "<i8")
    assert (data.chunk_bytes, data.attributes) == (999 * 2 * 8, {"unit": "mm"})
    assert file.look("/acquisition/x", depth=0).children == {}
    assert set(file.look("/", depth=2).children["processing"].children) == {"y"}


def test_links_and_types(file: RemoteNwb) -> None:
    """A soft link has its target's path; what cannot be followed is named with its reason."""
    node = file.look("/processing/y")
    assert node.children["timestamps"].path == "/acquisition/x/timestamps"
    assert node.refused == {
        "broken": "it is a link that leads nowhere",
        "far": "'far' is a link to another file, which is not followed",
        "odd\\x1bname": "its name is too long or not printable",
    }
    types = {name: child.dtype for name, child in node.children.items()}
    assert types == {
        "timestamps": "<f8",
        "table": "compound",
        "names": "text",
        "fixed": "text",
        "one": "text",
        "number": "<f4",
        "alias": "text",
        "reference": "reference",
    }


def test_values(file: RemoteNwb) -> None:
    """Whole, some rows, of another type, and a single value; the arrays are the caller's."""
    np.testing.assert_array_equal(file.read("/acquisition/x/data"), DATA)
    some = file.read("/acquisition/x/data", rows=slice(-1000, None, 7), dtype="float32")
    assert some.dtype == np.float32
    np.testing.assert_array_equal(some, DATA[-1000::7].astype("f4"))
    some[0] = 1
    number = file.read("/processing/y/number")
    assert (number.shape, float(number)) == ((), 2.5)


def test_values_of_many_datasets(file: RemoteNwb) -> None:
    """One after another, in the order asked, each as often as asked."""
    wanted = [
        ("/acquisition/x/data", None),
        ("/processing/y/timestamps", slice(0, 10)),
        ("/processing/y/number", None),
        *(("/acquisition/x/data", slice(row, row + 1)) for row in (19_999, 5, 1000)),
        ("/acquisition/x/data", slice(7, 7)),
    ]
    expected = [DATA, TIMES[:10], 2.5, DATA[19_999:], DATA[5:6], DATA[1000:1001], DATA[:0]]
    found = list(file.read_each(wanted))
    assert len(found) == len(expected)
    for there, here in zip(found, expected):
        np.testing.assert_array_equal(there, here)
    assert list(file.read_each([])) == []


@pytest.mark.parametrize("batch_bytes", [1, 100, 10_000, 100_000, 10**7])
@pytest.mark.parametrize("rows", [slice(None, None, 50), slice(100, 5000), slice(3, 3)], ids=str)
def test_values_in_pieces(file: RemoteNwb, rows: slice, batch_bytes: int) -> None:
    """All rows in order, in pieces that are not longer than asked, but of a row at least."""
    if batch_bytes < 1000 and rows.step is None:
        rows = slice(rows.start, rows.start + min(50, rows.stop - rows.start))
    pieces = list(file.batches("/acquisition/x/data", rows, batch_bytes=batch_bytes))
    np.testing.assert_array_equal(np.concatenate([DATA[:0], *pieces]), DATA[rows])
    assert all(0 < piece.nbytes <= max(batch_bytes, 24) for piece in pieces)


def test_texts(file: RemoteNwb) -> None:
    """Of variable and of fixed length, and a single one."""
    assert file.text("/processing/y/names") == ["left", "right é"]
    assert file.text("/processing/y/fixed") == ["a", "bc"]
    assert file.text("/processing/y/one") == ["a text"]


WRONG: Dict[str, Any] = {
    "nothing there": (lambda file: file.read("/no/such"), NotInFileError, "/no/such is not in"),
    "nothing to look at": (lambda file: file.look("/no"), NotInFileError, "/no is not in the file"),
    "a group": (lambda file: file.read("/acquisition"), InvalidInputError, "is a group, not a dat"),
    "a type": (lambda file: file.read("/processing/y/type"), InvalidInputError, "is a type, not a"),
    "texts": (lambda file: file.read("/processing/y/names"), NwbError, "holds text, not numbers"),
    "records": (lambda file: file.read("/processing/y/table"), NwbError, "holds compound, not num"),
    "no texts": (lambda file: file.text("/acquisition/x/data"), NwbError, "is not a list of texts"),
    "no values": (lambda file: file.read("/null"), NwbError, "/null has no values"),
    "another file": (lambda file: file.read("/processing/y/far"), NwbError, "a link to another f"),
    "rows of one value": (
        lambda file: file.read("/processing/y/number", slice(0, 1)),
        InvalidInputError,
        "is a single value: it has no rows",
    ),
    "a step back": (
        lambda file: file.read("/acquisition/x/data", slice(None, None, -1)),
        InvalidInputError,
        "a step of 1 or more, not -1",
    ),
    "rows by name": (
        lambda file: file.read("/acquisition/x/data", slice("a", None)),
        InvalidInputError,
        "rows must be a slice of whole numbers",
    ),
    "no slice": (
        lambda file: file.read("/acquisition/x/data", 3),
        InvalidInputError,
        "rows must be a slice, such as",
    ),
    "a change of kind": (
        lambda file: file.read("/acquisition/x/timestamps", dtype="i4"),
        InvalidInputError,
        "holds float64, which cannot become int32",
    ),
    "no type": (
        lambda file: file.read("/acquisition/x/data", dtype="words"),
        InvalidInputError,
        "dtype must be a type of numbers",
    ),
    "type of texts": (
        lambda file: file.read("/acquisition/x/data", dtype="U3"),
        InvalidInputError,
        "dtype must be a type of numbers",
    ),
    "too deep": (lambda file: file.look("/", depth=9), InvalidInputError, "depth must be from 0"),
    "no units": (
        lambda file: file.units_table("/acquisition/x"),
        InvalidInputError,
        "it has no spike_times",
    ),
}


@pytest.mark.parametrize(("ask", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_requests(
    file: RemoteNwb, ask: Callable[[RemoteNwb], object], error: Any, text: str
) -> None:
    """Each is an error of its kind, and the file can still be used."""
    with pytest.raises(error, match=text):
        ask(file)
    assert float(file.read("/processing/y/number")) == 2.5


def test_a_loop_may_end_early(file: RemoteNwb) -> None:
    """What is not taken does no harm to the next request."""
    for _ in range(3):
        for piece in file.batches("/acquisition/x/data", batch_bytes=10_000):
            np.testing.assert_array_equal(piece, DATA[: len(piece)])
            break
        del piece
        gc.collect()  # some Pythons end a loop's generator only now
        next(file.read_each([("/acquisition/x/data", None), ("/acquisition/x/timestamps", None)]))
        gc.collect()
        np.testing.assert_array_equal(file.read("/acquisition/x/timestamps"), TIMES)


def test_one_thing_at_a_time(file: RemoteNwb) -> None:
    """Another request within a loop is an error that says so, and the loop goes on."""
    count = 0
    for piece in file.batches("/acquisition/x/data", batch_bytes=100_000):
        count += len(piece)
        with pytest.raises(RuntimeError, match="finish that loop first"):
            file.look("/")
    assert count == len(DATA)


def test_limits_hold_for_each_request(server: RangeServer) -> None:
    """Values beyond the limit are refused; as pieces they can be read."""
    limits = ReadLimits(max_read_bytes=100_000)
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK, limits=limits) as file:
        with pytest.raises(NwbError, match=r"needs 480,000 bytes; at most .*DEVARIA_MAX_READ_BYT"):
            file.read("/acquisition/x/data")
        pieces = list(file.batches("/acquisition/x/data", batch_bytes=90_000))
        np.testing.assert_array_equal(np.concatenate(pieces), DATA)


def test_lines_and_progress(server: RangeServer) -> None:
    """Progress starts low, never decreases, and ends at the total."""
    told: List[Any] = []
    said: List[str] = []
    server.always = "whole"
    try:
        with open_remote(
            server.url("/x.nwb"),
            allow_hosts=LOOPBACK,
            say=said.append,
            progress=lambda done, total: told.append((done, total)),
        ) as file:
            list(file.read_each([("/acquisition/x/data", None), ("/acquisition/x/data", None)]))
            list(file.batches("/acquisition/x/data", batch_bytes=10_000))
    finally:
        server.always = None
    assert said[0].startswith("The server has no byte ranges")
    both, pieces = [each for each in told if each[1] == 960_000], told[-1]
    assert both == sorted(both)
    assert both[-1] == (960_000, 960_000)
    assert pieces == (480_000, 480_000)


def test_a_file_that_cannot_be_opened() -> None:
    """A wrong URL is an error at once; a server that cannot be used, of each request."""
    with pytest.raises(InvalidInputError, match="must be an http or https URL"):
        open_remote("ftp://h/x")
    with open_remote("http://10.0.0.1/x", allow_hosts=()) as file:
        for _ in range(2):
            with pytest.raises(NwbError, match="is not on the public internet"):
                file.look("/")


def test_the_end(server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the block, the child and the files are gone; arrays stay."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    kept = tmp_path / "kept"
    kept.mkdir()
    for folder in (None, kept):
        with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK, folder=folder) as file:
            values = file.read("/acquisition/x/data")
            loop = file.batches("/acquisition/x/data", batch_bytes=1000)
            next(loop)
            child = psutil.Process(file.pid)
        assert not child.is_running()
        np.testing.assert_array_equal(values, DATA)
        for ask in (lambda file=file: file.look("/"), lambda loop=loop: list(loop)):
            with pytest.raises(RuntimeError, match="the file is closed"):
                ask()
        assert list(tmp_path.rglob("*")) == [kept]


def test_time_is_up_within_a_loop(server: RangeServer) -> None:
    """The child is ended while the caller is busy, and the next piece is an error."""
    limits = ReadLimits(max_total_sec=3)
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK, limits=limits) as file:
        loop = file.batches("/acquisition/x/data", batch_bytes=1000)
        next(loop)
        psutil.Process(file.pid).wait(20)
        for _ in range(2):
            with pytest.raises(NwbError, match="the file was not read within 3 s"):
                list(loop) or file.look("/")


def test_few_pieces_are_made_ahead(server: RangeServer, tmp_path: Path) -> None:
    """A caller that takes its time does not fill the disk."""
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK, folder=tmp_path) as file:
        for number, _ in enumerate(file.batches("/acquisition/x/data", batch_bytes=5000)):
            assert sum(path.stat().st_size for path in tmp_path.glob("values-*")) <= 3 * 5000
            if number == 20:
                break


def test_a_folder_that_cannot_be_written_is_not_the_files_fault(
    server: RangeServer, tmp_path: Path
) -> None:
    """The error says so, and the file can still be looked at."""
    folder = tmp_path / "gone"
    folder.mkdir()
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK, folder=folder) as file:
        file.look("/")
        folder.rmdir()
        with pytest.raises(RuntimeError, match=r"CannotWriteError: cannot write to .*/gone: No "):
            file.read("/acquisition/x/data")
        assert file.look("/acquisition/x").neurodata_type == "TimeSeries"


def test_the_import_is_cheap() -> None:
    """Neither the package nor the start of a child needs numpy, h5py or requests."""
    code = (
        "import json, sys; import devaria.nwb; from devaria.nwb import open_remote\n"
        "file = open_remote('http://h/x'); file.close()\n"
        "print(json.dumps(sorted({'h5py', 'numpy', 'requests', 'figpack'} & set(sys.modules))))"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert json.loads(told.stdout) == []
    with pytest.raises(AttributeError, match="no_such"):
        devaria.nwb.no_such  # noqa: B018 - the access is what is tested


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux tells it")
def test_memory_of_pieces_is_bounded(server: RangeServer) -> None:
    """A dataset of half a gigabyte passes through a child that needs little more than for none."""
    shape, chunks = (2048, 512, 256), (4, 512, 256)
    frame = RNG.integers(0, 50, chunks, np.uint16)

    def add(file: h5py.File) -> None:
        movie = file.create_dataset("movie", shape, "u2", chunks=chunks, compression="gzip")
        stored = zlib.compress(frame.tobytes(), 1)
        for first in range(0, shape[0], chunks[0]):
            movie.id.write_direct_chunk((first, 0, 0), stored)

    server.files["/long.nwb"] = file_bytes(add)
    with open_remote(server.url("/long.nwb"), allow_hosts=LOOPBACK) as file:
        file.look("/")
        before = psutil.Process(file.pid).memory_info().rss
        rows = peak = 0
        for piece in file.batches("/movie", batch_bytes=8 * 2**20):
            assert (piece[0] == frame[0]).all()
            rows += len(piece)
            peak = max(peak, psutil.Process(file.pid).memory_info().rss - before)
    assert rows == shape[0]
    assert peak < 170e6
    del server.files["/long.nwb"]


def test_requests_go_beside_each_other(server: RangeServer) -> None:
    """For the headers of many objects, and for the values of many datasets."""

    def add(file: h5py.File) -> None:
        for number in range(20):
            group = file.create_group(f"parts/{number:02}")
            group.attrs["neurodata_type"] = "Part"
            group.create_dataset("data", data=RNG.random((20_000, 2)), chunks=(1000, 2))

    server.files["/parts.nwb"] = content = file_bytes(add)
    assert len(content) > 20 * 320_000
    with open_remote(server.url("/parts.nwb"), allow_hosts=LOOPBACK) as file:
        file.look("/", depth=0)
        server.latency_sec = 0.1
        server.most_pending = 0
        assert len(file.look("/parts", depth=2).children) == 20
        assert server.most_pending >= 6
        server.most_pending = 0
        assert len(list(file.read_each([(f"/parts/{n:02}/data", None) for n in range(20)]))) == 20
        assert server.most_pending >= 6
    server.latency_sec = 0.0
    assert sum("parts" in line for line in server.asked) < 20 * 6
