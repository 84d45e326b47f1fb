"""Run one route from an NWB file to a figure, or a part of it, in this process.

    python benchmarks/raster_routes.py stock|ours read|build|whole|warm PARAMETERS

PARAMETERS is a JSON object with the key "url" or "table". Prints a JSON object with the seconds
that the part took. Imports are not counted, except for "ours whole", whose imports run while the
other process reads. "Warm" is the same in a process that has imported ahead.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Tuple

Parameters = Dict[str, Any]

#: How long a process waits for its job after it has imported ahead, in seconds.
_IDLE_SEC = 0.5


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class PlainHttpFile(io.RawIOBase):
    """A remote file, read in blocks of 1 MiB. The stock route uses it without lindi."""

    def __init__(self, url: str) -> None:
        import requests

        self._session, self._url, self._position = requests.Session(), url, 0
        self._size = int(self._session.head(url, allow_redirects=True).headers["Content-Length"])
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the offset of the next read."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, at most to the end of a block."""
        number, offset = divmod(self._position, 1 << 20)
        if number not in self._blocks:
            span = f"bytes={number << 20}-{((number + 1) << 20) - 1}"
            self._blocks[number] = self._session.get(self._url, headers={"Range": span}).content
            if len(self._blocks) > 64:
                self._blocks.popitem(last=False)
        part = self._blocks[number][offset : offset + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _stock_view(url: str) -> Tuple[Any, str]:
    from figpack_spike_sorting.views import RasterPlot

    try:
        import lindi  # noqa: F401
    except ImportError:
        import h5py

        file = h5py.File(io.BufferedReader(PlainHttpFile(url), 1 << 16), "r")
        return RasterPlot.from_nwb_units_table(file, units_path="/units"), "h5py"
    return RasterPlot.from_nwb_units_table(url, units_path="/units"), "lindi"


def stock_read(parameters: Parameters) -> str:
    """Read the spike trains as figpack does."""
    return _stock_view(parameters["url"])[1]


def stock_build(parameters: Parameters) -> str:
    """Build and save the figure as figpack does, from arrays on disk."""
    import numpy as np
    from figpack_spike_sorting.views import RasterPlot
    from figpack_spike_sorting.views.RasterPlotItem import RasterPlotItem

    folder = Path(parameters["table"])
    times = np.load(folder / "spike_times_sec.npy", mmap_mode="r")
    rest = json.loads((folder / "table.json").read_text())
    trains = np.split(times, np.load(folder / "unit_stops.npy")[:-1])
    plots = [
        RasterPlotItem(unit_id=unit_id, spike_times_sec=train)
        for unit_id, train in zip(rest["unit_ids"], trains)
    ]
    view = RasterPlot(
        start_time_sec=rest["start_time_sec"], end_time_sec=rest["end_time_sec"], plots=plots
    )
    _save(view)
    return ""


def stock_whole(parameters: Parameters) -> str:
    """Read, build and save as figpack does."""
    view, way = _stock_view(parameters["url"])
    _save(view)
    return way


class NoPipes:
    """Takes the place of the pipes to a parent."""

    def send(self, _event: Dict[str, Any]) -> None:
        """Drop an event."""


def ours_read(parameters: Parameters) -> str:
    """Read the table as the reading child does."""
    from devaria.nwb.limits import ReadLimits
    from devaria.nwb.sandbox.child import open_file

    opening = {
        "url": parameters["url"],
        "limits": asdict(ReadLimits()),
        "allow_hosts": ["127.0.0.1"],
    }
    with tempfile.TemporaryDirectory() as folder, open_file(
        opening, Path(folder), NoPipes(), None
    ) as answer:
        answer({"op": "units_table", "path": "/units"})
    return ""


def ours_build(parameters: Parameters) -> str:
    """Build and save the figure from the table's files."""
    from devaria.figures.raster import UnitsRasterPlot
    from devaria.nwb.units.table import load_table

    _save(UnitsRasterPlot(load_table(Path(parameters["table"]))))
    return ""


def stock_warm(parameters: Parameters) -> str:
    """Do the same as "whole", whose imports are not counted either."""
    return stock_whole(parameters)


def ours_warm(parameters: Parameters) -> str:
    """Run the job's handler after its `preload`."""
    return ours_whole(parameters)


def ours_whole(parameters: Parameters) -> str:
    """Run the job's handler, which here saves the figure instead of uploading it."""
    from devaria.jobs.figpack_nwb_raster_plot import FigpackNwbRasterPlotHandler

    class Saving(FigpackNwbRasterPlotHandler):
        def publish(self, figure: Any, *_: Any) -> str:
            return _save(figure.view)

    # Nothing is uploaded, so nothing is to be connected to.
    os.environ.update(FIGPACK_API_KEY="none", FIGPACK_API_BASE_URL="http://127.0.0.1:9")
    params = {"nwb_url": parameters["url"], "units_path": "/units"}
    with contextlib.redirect_stdout(io.StringIO()):
        Saving().execute(params, lambda **_news: None)
    return ""


def _save(view: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        view.save(folder + "/figure", title="T")
    return ""


def main() -> None:
    """Run the part that the command line names."""
    route, part, parameters = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if (route, part) == ("ours", "warm"):
        from devaria.jobs.figpack_nwb_raster_plot import FigpackNwbRasterPlotHandler

        FigpackNwbRasterPlotHandler.preload()
        time.sleep(_IDLE_SEC)
    elif (route, part) != ("ours", "whole"):
        import figpack_spike_sorting.views  # noqa: F401

        with contextlib.suppress(ImportError):
            import lindi  # noqa: F401
        if route == "ours":
            import devaria.figures.raster
            import devaria.nwb.sandbox.child
            import devaria.nwb.units.reader  # noqa: F401
    before_bytes = resident_bytes()
    start = time.perf_counter()
    way = globals()[f"{route}_{part}"](parameters)
    seconds = time.perf_counter() - start
    print(json.dumps({"inner_sec": seconds, "before_bytes": before_bytes, "way": way}))


if __name__ == "__main__":
    main()
