"""Zarr and LINDI files that are damaged or hostile, and servers that fail: errors that say why."""

import base64
import contextlib
import copy
import json
import zlib
from typing import Any, Dict, Iterator, List

import numcodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nwb_files import units_bytes
from range_server import LOOPBACK, RangeServer

from devaria.nwb import open_remote
from devaria.nwb.decoding.wanted import read_each
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.recognition import FileOpener

TIMES = np.arange(1000) / 8

GROUP = {"zarr_format": 2}


def array(shape: List[int], chunks: List[int], dtype: str = "<f8", **changed: Any) -> Any:
    """Return the document of an array of Zarr 2."""
    document = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype,
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "order": "C",
    }
    return {**document, **changed}


def table() -> Dict[str, Any]:
    """Return a small units table: documents, and chunks as bytes."""
    return {
        ".zgroup": GROUP,
        "units/.zgroup": GROUP,
        "units/spike_times/.zarray": array([1000], [300]),
        **{
            f"units/spike_times/{n}": np.resize(TIMES[300 * n :], 300).tobytes()
            if n < 3
            else np.concatenate([TIMES[900:], np.zeros(200)]).tobytes()
            for n in range(4)
        },
        "units/spike_times_index/.zarray": array([2], [2], "<u4"),
        "units/spike_times_index/0": np.array([400, 1000], "<u4").tobytes(),
        "units/id/.zarray": array([2], [2], "<i8"),
        "units/id/0": np.array([4, 9], "<i8").tobytes(),
    }


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """One server for all tests of this module."""
    with RangeServer({}) as running:
        yield running


def serve(server: RangeServer, content: Dict[str, Any], path: str = "/x.zarr") -> str:
    """Serve a Zarr folder with consolidated metadata; return its URL."""
    server.faults.clear()
    server.files.clear()
    documents = {key: value for key, value in content.items() if not isinstance(value, bytes)}
    server.files[f"{path}/.zmetadata"] = json.dumps({"metadata": documents}).encode()
    chunks = {key: value for key, value in content.items() if isinstance(value, bytes)}
    server.files.update({f"{path}/{key}": value for key, value in chunks.items()})
    return server.url(path)


def serve_lindi(server: RangeServer, refs: Dict[str, Any], **more: Any) -> str:
    """Serve a LINDI file; return its URL."""
    server.faults.clear()
    plain = {
        key: f"base64:{base64.b64encode(value).decode()}" if isinstance(value, bytes) else value
        for key, value in refs.items()
    }
    server.files["/x.lindi.json"] = json.dumps({"refs": plain, **more}).encode()
    return server.url("/x.lindi.json")


def units_of(url: str, allow_hosts: Any = LOOPBACK, **limits: Any) -> Any:
    """Read the units table in this process."""
    return answer(url, lambda file: file.units_table("/units", nothing), allow_hosts, **limits)


def values_of(url: str, path: str, **limits: Any) -> Any:
    """Read a dataset of numbers in this process."""

    def read(file: Any) -> Any:
        (values,) = read_each([file.wanted(path, (None,) * 3, None, np.empty)], nothing)
        return values

    return answer(url, read, **limits)


def answer(url: str, ask: Any, allow_hosts: Any = LOOPBACK, **limits: Any) -> Any:
    """Open a file as the reading process does, and ask it."""
    opening = {"url": url, "allow_hosts": list(allow_hosts)}
    opener = FileOpener(opening, ReadLimits(**limits), lambda _line: None)
    with opener.opened(opener.connect()) as file:
        try:
            return ask(file)
        finally:
            file.forget()


def nothing(_done: int, _total: int) -> None:
    """Take progress."""


COLUMN = "units/spike_times/.zarray"


def test_the_table_itself(server: RangeServer) -> None:
    """The table without a fault, as a folder and as LINDI."""
    for url in (serve(server, table()), serve_lindi(server, table())):
        found = units_of(url)
        np.testing.assert_array_equal(found.spike_times_sec, TIMES)
        assert found.unit_ids == ["4", "9"]


#: What is changed of the column's document → what the error says.
DOCUMENTS: Dict[str, Any] = {
    "pickle": ({"dtype": "|O", "filters": [{"id": "pickle"}]}, "holds text, not real numbers"),
    "unknown codec": ({"filters": [{"id": "zfpy"}]}, "codec zfpy, which is not known here"),
    "codec that runs code": ({"filters": [{"id": "pickle"}]}, "would run code: refused"),
    "huge chunk": ({"chunks": [2**40]}, "chunks of 8,796,093,022,208 bytes: too large"),
    "many chunks": ({"shape": [10**9], "chunks": [1]}, "has 1,000,000,000 chunks; at most"),
    "negative shape": ({"shape": [-1]}, "metadata of /units/spike_times are damaged"),
    "no chunk": ({"chunks": [0]}, "are damaged"),
    "other axes": ({"chunks": [10, 10]}, "are damaged"),
    "two axes": ({"shape": [10, 10], "chunks": [10, 10]}, "not a one-dimensional dataset"),
    "texts": ({"dtype": "<U4"}, "holds text, not real numbers"),
    "records": ({"dtype": [["a", "<f8"]]}, "holds compound, not real numbers"),
    "odd type": ({"dtype": "<f8; import os"}, "holds opaque, not real numbers"),
    "odd fill": ({"fill_value": {}}, "are damaged"),
    "shuffle of nothing": ({"filters": [{"id": "shuffle", "elementsize": 0}]}, "are damaged"),
    "short table": ({"shape": [900]}, "points past the 900 spikes"),
    "bomb that is not stored": (
        {"shape": [10**8], "chunks": [10**6]},
        "declares 800,000,000 bytes, but almost nothing is stored|has other|damaged",
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(server: RangeServer, name: str) -> None:
    """Each is an error of one line, as a folder and as LINDI."""
    change, text = DOCUMENTS[name]
    content = table()
    content[COLUMN] = {**content[COLUMN], **change}
    if name.startswith("bomb"):
        content = {key: value for key, value in content.items() if "spike_times/" not in key}
        content[COLUMN] = array([10**8], [10**6])
        content["units/spike_times_index/0"] = np.array([1, 10**8], "<u4").tobytes()
    for url in (serve(server, content), serve_lindi(server, content)):
        with pytest.raises(NwbError, match=text):
            units_of(url)


@pytest.mark.parametrize("codec", ["zlib", "gzip", "bz2", "zstd", "lz4", "blosc"])
def test_bombs(server: RangeServer, codec: str) -> None:
    """A chunk that becomes longer than a chunk is, is not decompressed to its end."""
    made = numcodecs.get_codec({"id": codec})
    content = table()
    content[COLUMN]["compressor"] = {"id": codec}
    content["units/spike_times/0"] = made.encode(np.zeros(2_000_000))
    with pytest.raises(NwbError, match="far longer than it may be"):
        units_of(serve(server, content))
    texts = array([1], [1], "|O", filters=[{"id": "vlen-utf8"}], compressor={"id": codec})
    bomb = made.encode(np.zeros(5_000_000))
    content = {".zgroup": GROUP, "x/.zarray": texts, "x/0": bomb}
    with pytest.raises(NwbError, match=r"longer than it may be|broken"):
        answer(serve(server, content), lambda file: file.text("/x"))


def test_limits(server: RangeServer) -> None:
    """Those of the operator, which hold for HDF5, hold here."""
    content = table()
    for limits, text in (
        ({"max_fetch_bytes": 5_000}, "DEVARIA_MAX_FETCH_BYTES"),
        ({"max_spikes": 999}, "has 1,000 spikes; at most 999"),
        ({"max_rows": 1}, "has 2 rows: more than 1"),
        ({"max_units": 1}, "2 units have spikes; at most 1"),
        ({"max_chunk_bytes": 2_000}, "chunks of 2,400 bytes: too large"),
    ):
        with pytest.raises(NwbError, match=text):
            units_of(serve(server, content), **limits)
    with pytest.raises(NwbError, match="DEVARIA_MAX_READ_BYTES"):
        values_of(serve(server, content), "/units/spike_times", max_read_bytes=7_999)
    content["units/spike_times/0"] = bytes(10**6)
    with pytest.raises(NwbError, match="more than the 70,336 bytes that it may have"):
        units_of(serve(server, content))


def test_what_is_not_there(server: RangeServer) -> None:
    """Tables, paths and links that lead nowhere; the error lists the tables."""
    url = serve(server, {**table(), "processing/.zgroup": GROUP})
    with pytest.raises(InvalidInputError, match=r"/x is not in the file; .* in the file: /units"):
        answer(url, lambda file: file.units_table("/x", nothing))
    with pytest.raises(InvalidInputError, match=r"it has no spike_times; .*: /units"):
        answer(url, lambda file: file.units_table("/processing", nothing))
    with pytest.raises(InvalidInputError, match="is a dataset, not a units table"):
        answer(url, lambda file: file.units_table("/units/id", nothing))
    with pytest.raises(InvalidInputError, match="is a group, not a dataset"):
        values_of(url, "/units")
    with pytest.raises(NotInFileError):
        answer(url, lambda file: file.look("/units/nothing", 1))


def test_links(server: RangeServer) -> None:
    """A link to another file, a cycle, and a way out of the file are not followed."""
    links = [
        {"name": "far", "source": "../secret.zarr", "path": "/units"},
        {"name": "round", "source": ".", "path": "/round"},
        {"name": "up", "source": ".", "path": "/../units"},
        {"name": "good", "source": ".", "path": "/units"},
        {"name": 7, "source": ".", "path": "/units"},
        "odd",
    ]
    url = serve(server, {**table(), ".zattrs": {"zarr_link": links}})
    node = answer(url, lambda file: file.look("/", 1))
    assert set(node.children) == {"units", "good"}
    assert node.children["good"].path == "/units"
    assert node.refused == {
        "far": "'far' is a link to another file: it is not followed",
        "round": "the link 'round' in the file leads nowhere",
        "up": "the link 'up' in the file leads nowhere",
    }


# --- LINDI ----------------------------------------------------------------------------------------


def with_reference(reference: Any) -> Dict[str, Any]:
    """Return the table with another reference for the first chunk of the spike times."""
    return {**table(), "units/spike_times/0": reference}


REFERENCES: Dict[str, Any] = {
    "private address": (["http://127.0.0.2:9/x", 0, 2400], "is not on the public internet"),
    "metadata service": (["http://169.254.169.254/x", 0, 2400], "is not on the public internet"),
    "a file of this machine": (["/etc/passwd", 0, 2400], "a file on the machine that wrote it"),
    "file URL": (["file:///etc/passwd", 0, 2400], "a file on the machine that wrote it"),
    "a login": (["http://me:you@127.0.0.1/x", 0, 2400], "refers to what is no http or https URL"),
    "no member": (["./blobs/x", 0, 2400], "refers to ./blobs/x, which is not there as told"),
    "way up": (["./../x", 0, 2400], "which is not there as told"),
    "long": (["{{u}}", 0, 10**9], "the reference units/spike_times/0 is damaged"),
    "before the start": (["{{u}}", -1, 2400], "is damaged"),
    "no numbers": (["{{u}}", "0", 2400], "is damaged"),
    "nothing": (["{{u}}", 0, 0], "is damaged"),
    "two parts": (["{{u}}", 0], "is damaged"),
    "number": (7, "is damaged"),
    "no base64": ("base64:*", "is damaged"),
    "beyond the end": (["{{u}}", 99_000, 2400], "is shorter than .* says: it is another file"),
    "absent": (["{{absent}}", 0, 2400], "is damaged"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_references(server: RangeServer, name: str) -> None:
    """Each is an error, and no request goes where it must not."""
    reference, text = REFERENCES[name]
    server.files["/blob"] = bytes(100_000)
    url = serve_lindi(server, with_reference(reference), templates={"u": server.url("/blob")})
    with pytest.raises(NwbError, match=text):
        units_of(url)


def test_a_redirect_of_a_reference(server: RangeServer) -> None:
    """The guard looks at each hop."""
    server.redirect_to = "http://127.0.0.2:9/x"
    url = serve_lindi(server, with_reference([server.url("/to/x"), 0, 2400]))
    with pytest.raises(NwbError, match="is not on the public internet"):
        units_of(url)
    server.redirect_to = None


def test_a_file_that_is_gone(server: RangeServer) -> None:
    """The error of the reading process names the file that is referred to."""
    url = serve_lindi(server, with_reference([server.url("/gone"), 0, 2400]))
    for address, text in ((url, "/gone: the server has no such file"), (f"{url}x", "no such")):
        with open_remote(address, allow_hosts=LOOPBACK) as file:
            for _ in range(2):
                with pytest.raises(NwbError, match=text):
                    file.units_table()


def test_a_damaged_hdf5_file(server: RangeServer) -> None:
    """An array that lies in an HDF5 file as a whole: its damage is told as ever."""
    options = {"chunks": (300,), "compression": "gzip", "fletcher32": True}
    damaged = bytearray(units_bytes([TIMES], **options))
    stored = zlib.compress(TIMES[300:600].tobytes(), 4)
    at = damaged.index(stored)
    damaged[at + 50 : at + 60] = bytes(10)
    server.files["/h.nwb"] = bytes(damaged)
    content = table()
    link = {"link_type": "hdf5_dataset", "url": server.url("/h.nwb"), "name": "units/spike_times"}
    content["units/spike_times/.zattrs"] = {"_EXTERNAL_ARRAY_LINK": link}
    with open_remote(serve_lindi(server, content), allow_hosts=LOOPBACK) as file:
        for _ in range(2):
            with pytest.raises(NwbError, match=r"/h\.nwb is damaged"):
                file.units_table()
        assert file.read("/units/id").tolist() == [4, 9]
    content["units/spike_times/.zarray"] = array([1001], [300])
    with pytest.raises(NwbError, match="has another shape in the file that it refers to"):
        units_of(serve_lindi(server, content))


def test_many_files(server: RangeServer) -> None:
    """A file cannot have the runner connect to hundreds of others, nor fetch without an end."""
    content = table()
    content[COLUMN] = array([1000], [10])
    for number in range(100):
        server.files[f"/f{number}"] = bytes(1000)
        content[f"units/spike_times/{number}"] = [server.url(f"/f{number}"), 0, 80]
    with pytest.raises(NwbError, match="refers to more than 32 files"):
        units_of(serve_lindi(server, content))
    for number in range(100):
        content[f"units/spike_times/{number}"] = [server.url("/f0"), 0, 80]
    with pytest.raises(NwbError, match="DEVARIA_MAX_FETCH_BYTES"):
        units_of(serve_lindi(server, content), max_fetch_bytes=5_000)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"refs": 7}', "without references"),
        (b'{"refs": {', "no JSON object"),
        (b'{"refs": {}}', "not in the file"),
        (b'{"refs": ' + b"[" * 100_000, "no JSON object"),
        (bytes(257) + b"ustar" + bytes(1000), "tar archive without lindi.json"),
    ],
)
def test_files_that_are_none(server: RangeServer, content: bytes, text: str) -> None:
    """JSON and archives that are not LINDI."""
    server.files["/odd.json"] = content
    with pytest.raises((NwbError, InvalidInputError), match=text):
        units_of(server.url("/odd.json"))


# --- servers --------------------------------------------------------------------------------------


def test_server_faults(server: RangeServer) -> None:
    """Faults that pass are tried again."""
    url = serve(server, table())
    server.faults += [503, None, "drop", None, "short", "shifted"]
    np.testing.assert_array_equal(units_of(url).spike_times_sec, TIMES)


def test_a_server_that_compresses(server: RangeServer) -> None:
    """What a server compresses as a whole is read, and is no longer than it may be."""
    url = serve(server, table())
    server.faults = [*[None] * 3, *["whole, gzip"] * 9]
    np.testing.assert_array_equal(units_of(url).spike_times_sec, TIMES)
    server.files["/x.zarr/units/spike_times/0"] = bytes(10**6)
    server.faults = [*[None] * 3, *["whole, gzip"] * 9]
    with pytest.raises(NwbError, match="more than the 70,336 bytes that it may have"):
        units_of(url)
    server.faults.clear()


def test_chunks_that_are_denied(server: RangeServer) -> None:
    """A chunk that is denied is not taken for one that is not stored."""
    url = serve(server, table())
    del server.files["/x.zarr/units/spike_times/2"]
    assert units_of(url).spike_times_sec[600:900].tolist() == [0] * 300
    server.faults = [None, None, None]  # the three documents that tell what the folder is
    server.always = 403
    try:
        with pytest.raises(NwbError, match=r"spike_times\S*: the server denies access"):
            units_of(url)
    finally:
        server.always = None


def test_where_a_folder_is_found(server: RangeServer) -> None:
    """At a URL of any form, and at that of one of its documents."""
    for path in ("/a.nwb.zarr", "/zarr/0123-4567", "/plain"):
        url = serve(server, table(), path)
        for form in (url, f"{url}/", f"{url}/.zmetadata", f"{url}?sig=1"):
            assert len(units_of(form).spike_times_sec) == 1000
    url = serve(server, table(), "/a.nwb.zarr")
    assert len(units_of(f"{url}/units/spike_times/0").spike_times_sec) == 1000
    with pytest.raises(NwbError, match=r"127\.0\.0\.1 is not on the public internet"):
        units_of(serve(server, table()), allow_hosts=())
    with pytest.raises(NwbError, match=r"/no.zarr is not a Zarr folder: it has neither \.zmeta"):
        units_of(server.url("/no.zarr"))
    with pytest.raises(NwbError, match=r"/no\.nwb: the server has no such file"):
        units_of(server.url("/no.nwb"))


def test_a_folder_in_s3(server: RangeServer) -> None:
    """Without consolidated metadata and pages of links, S3 lists what is there."""
    serve(server, table(), "/bucket/x")
    del server.files["/bucket/x/.zmetadata"]
    for key, value in {**table(), "odd_name/.zgroup": GROUP}.items():
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        server.files[f"/bucket/x/{key}"] = content
    url = server.url("/bucket/x/")
    ask = {"look": lambda file: set(file.look("/", 1).children)}
    assert answer(url, ask["look"]) == {"units"}  # a usual name, and one that nobody can know
    assert len(units_of(url).spike_times_sec) == 1000
    names = ("odd_name", "units", "units/id", "units/nothing")
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>bucket/x/{name}/</Prefix></CommonPrefixes>" for name in names
    )
    server.files["/"] = f"<ListBucketResult>{prefixes}</ListBucketResult>".encode()
    assert answer(url, ask["look"]) == {"units", "odd_name"}


def test_chunks_that_nobody_takes(server: RangeServer) -> None:
    """What was fetched ahead for a request is dropped at its end."""
    url = serve(server, table())

    def ask(file: Any) -> Any:
        wanted = file.wanted("/units/spike_times", (None,) * 3, None, np.empty)
        next(wanted.batches(2_400, nothing))
        file.forget()
        (values,) = read_each([file.wanted("/units/id", (None,) * 3, None, np.empty)], nothing)
        return file, values.tolist()

    file, values = answer(url, ask)
    assert values == [4, 9]
    assert (file._ahead._held, file._ahead._held_bytes) == (0, 0)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)

THIRD = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [1000],
    "data_type": "float64",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [300]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0.0,
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [100],
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                "index_codecs": [{"name": "bytes"}, {"name": "crc32c"}],
                "index_location": "end",
            },
        }
    ],
    "attributes": {},
}


def places(value: Any) -> List[Any]:
    """Return every place in a document, as a list of keys."""
    if not isinstance(value, (dict, list)):
        return [[]]
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    return [[], *([key, *rest] for key, inner in entries for rest in places(inner))]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_metadata(data: Any) -> None:
    """Whatever stands anywhere in a document: a node, or an NwbError."""
    from devaria.nwb.zarr.documents import node_of

    version = data.draw(st.sampled_from([2, 3]))
    document = copy.deepcopy(THIRD if version == 3 else array([1000], [300]))
    path = data.draw(st.sampled_from([each for each in places(document) if each]))
    here: Any = document
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = data.draw(JUNK)
    with contextlib.suppress(NwbError):
        node_of("x", [document] if version == 3 else [document, None, data.draw(JUNK)])
