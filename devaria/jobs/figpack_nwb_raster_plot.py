"""figpack_nwb_raster_plot: a remote NWB file's units table becomes a raster plot on the web.

Everything that the plot is made of, h5py, numpy and figpack, is imported when a job runs: the
runner itself must start without them.
"""

import contextlib
import io
import os
import re
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Dict, List, TextIO

from devaria.jobs.base import HeartbeatCallback, JobHandler

if TYPE_CHECKING:
    from devaria.nwb.units_table import UnitsTable

TITLE = "Raster Plot from NWB Units Table"

_KEY_VARIABLE = "FIGPACK_API_KEY"
_KEY_MISSING = (
    f"{_KEY_VARIABLE} is not set: get a key from the figpack service and `export {_KEY_VARIABLE}=…`"
)

#: Which package each import comes from.
_PACKAGES = {
    "figpack": "figpack",
    "figpack_spike_sorting": "figpack-spike-sorting",
    "h5py": "h5py",
}

#: Where each step ends, in percent of the whole job.
_IMPORTED, _OPENED, _READ, _CREATED, _DONE = 5, 10, 60, 65, 100


class FigpackNwbRasterPlotHandler(JobHandler):
    """Reads a units table over HTTP ranges, and uploads a raster plot of all its units."""

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job.

        Args:
            input_params: ``nwb_url`` (http or https URL of an NWB 2 file) and ``units_path``
                (path of a units table in it, such as ``/units``).
            heartbeat_callback: Is told the percentage done.

        Returns:
            ``{"figpack_url": …, "nwb_url": …, "units_path": …}``.

        Raises:
            ValueError: A parameter is missing or malformed, or names no units table.
            NwbError: The file cannot be fetched, is damaged, or has no spikes.
            RuntimeError: ``FIGPACK_API_KEY`` is not set, or the upload failed.
        """
        if not os.environ.get(_KEY_VARIABLE):
            raise RuntimeError(_KEY_MISSING)  # before minutes go into a figure without a home
        self.log("Importing libraries")
        table = self._read(input_params, heartbeat_callback)
        figure_url = self._publish(table, input_params, heartbeat_callback)
        self.log(f"Figure URL: {figure_url}")
        heartbeat_callback(progress_current=_DONE, progress_total=100)
        self.log("Completed!")
        return {
            "figpack_url": figure_url,
            "nwb_url": input_params["nwb_url"],
            "units_path": input_params["units_path"],
        }

    @classmethod
    def missing_requirements(cls) -> List[str]:
        """Say what keeps this machine from drawing raster plots.

        Returns:
            A reason for each package that is not installed, and one if no figpack key is set.
        """
        missing = [
            f'{package} is not installed: `pip install "devaria[figpack]"`'
            for module, package in _PACKAGES.items()
            if find_spec(module) is None
        ]
        return missing if os.environ.get(_KEY_VARIABLE) else [*missing, _KEY_MISSING]

    def _read(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> "UnitsTable":
        from devaria.nwb.hdf5_guard import checked_units_path
        from devaria.nwb.remote_file import open_remote_file
        from devaria.nwb.units_table import read_units_table
        from devaria.nwb.urls import checked_url, shown_url

        def tell_spikes(done: int, total: int) -> None:
            percent = _OPENED + (_READ - _OPENED) * done / total
            heartbeat_callback(progress_current=percent, progress_total=100)

        url = checked_url(input_params.get("nwb_url"))
        units_path = checked_units_path(input_params.get("units_path"))
        heartbeat_callback(progress_current=_IMPORTED, progress_total=100)
        self.log(f"Loading NWB file from {shown_url(url)}")
        self.log(f"Units path: {units_path}")
        with open_remote_file(url) as (file, file_bytes):
            heartbeat_callback(progress_current=_OPENED, progress_total=100)
            table = read_units_table(file, units_path, file_bytes=file_bytes, progress=tell_spikes)
        self._log_contents(table)
        return table

    def _log_contents(self, table: "UnitsTable") -> None:
        spikes, units = len(table.spike_times_sec), len(table.unit_ids)
        self.log(f"Read {spikes:,} spikes of {units:,} units")
        if table.num_rows > units:
            self.log(f"Left out {table.num_rows - units:,} units without spikes")
        if table.num_dropped:
            self.log(f"Left out {table.num_dropped:,} spike times that are NaN or infinite")

    def _publish(
        self,
        table: "UnitsTable",
        input_params: Dict[str, Any],
        heartbeat_callback: HeartbeatCallback,
    ) -> str:
        from devaria.nwb.errors import NwbError, without_queries
        from devaria.nwb.raster import UnitsRasterPlot

        view = UnitsRasterPlot(table)
        self.log("Created the raster plot")
        heartbeat_callback(progress_current=_CREATED, progress_total=100)
        self.log("Uploading the figure")
        try:
            with contextlib.redirect_stdout(_WithoutQueries(sys.stdout)):
                url: str = view.show(
                    title=TITLE,
                    description=_description(input_params),
                    upload=True,
                    wait_for_input=False,
                    open_in_browser=False,
                    inline=False,
                )
        except NwbError:
            raise
        except Exception as error:
            # figpack's texts can hold a signed URL; so can the exceptions behind them.
            text = f"the upload failed: {type(error).__name__}: {without_queries(str(error))}"
            raise RuntimeError(text) from None
        return url


class _WithoutQueries(io.TextIOBase):
    """What figpack prints, without the signatures of the URLs that it uploads to."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, text: str) -> int:
        from devaria.nwb.errors import without_queries

        self._target.write(without_queries(text))
        return len(text)

    def flush(self) -> None:
        self._target.flush()


def _description(input_params: Dict[str, Any]) -> str:
    from devaria.nwb.urls import shown_url

    url = _as_code(shown_url(input_params["nwb_url"]))
    return f"NWB file: {url}\n\nUnits table: {_as_code(input_params['units_path'])}"


def _as_code(text: str) -> str:
    """Quote for markdown: within a fence that the text cannot close, nothing else has a meaning."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"
