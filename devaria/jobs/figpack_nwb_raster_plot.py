"""figpack_nwb_raster_plot: draw a raster plot of a remote NWB file's units table.

The file comes from a stranger, so a process without keys reads it. Meanwhile this process imports
what draws figures. These imports take a second or more, so they stand inside functions: the runner
and the processes of other jobs start without them.
"""

import gc
import os
import re
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from devaria.figures.progress import Progress
from devaria.jobs.base import HeartbeatCallback, JobHandler

if TYPE_CHECKING:
    from devaria.nwb.limits import ReadLimits
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


class FigpackNwbRasterPlotHandler(JobHandler):
    """Reads a units table over HTTP ranges, and uploads a raster plot of all its units."""

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job.

        Args:
            input_params: `nwb_url` (http or https URL of an NWB 2 file) and `units_path` (path of
                a units table in it, such as `/units`).
            heartbeat_callback: Called with the percentage done.

        Returns:
            `{"figpack_url": …, "nwb_url": …, "units_path": …}`.

        Raises:
            ValueError: A parameter is missing or malformed, or names no units table.
            NwbError: The file cannot be fetched, is damaged, or has no spikes.
            RuntimeError: `FIGPACK_API_KEY` is not set, or the upload failed.
        """
        import shutil
        import tempfile

        if not os.environ.get(_KEY_VARIABLE):
            raise RuntimeError(_KEY_MISSING)  # before minutes of work are lost
        progress = Progress(
            lambda percent: heartbeat_callback(progress_current=percent, progress_total=100),
            self.log,
        )
        end_sec = time.monotonic() + _limits().max_total_sec
        folder = Path(tempfile.mkdtemp(prefix="devaria-table-"))
        try:
            table = self._read(input_params, folder, progress)
            figure_url = self._publish(table, input_params, progress, end_sec)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.log(f"Figure URL: {figure_url}")
        progress.reached(100)
        self.log("Completed!")
        return {
            "figpack_url": figure_url,
            "nwb_url": input_params["nwb_url"],
            "units_path": input_params["units_path"],
        }

    @classmethod
    def missing_requirements(cls) -> List[str]:
        """Return why this machine cannot draw raster plots.

        Returns:
            A sentence for each package that is not installed, for a variable that sets a read
            limit to no valid number, and for a missing figpack key.
        """
        missing = [
            f'{package} is not installed: `pip install "devaria[figpack]"`'
            for module, package in _PACKAGES.items()
            if find_spec(module) is None
        ]
        try:
            _limits()
        except RuntimeError as error:
            missing.append(str(error))
        return missing if os.environ.get(_KEY_VARIABLE) else [*missing, _KEY_MISSING]

    def _read(self, input_params: Dict[str, Any], folder: Path, progress: Progress) -> "UnitsTable":
        from devaria.nwb.params import checked_units_path, checked_url, shown_url
        from devaria.nwb.sandbox.parent import Reading, ReadRequest

        self.log("Importing libraries")
        url = checked_url(input_params.get("nwb_url"))
        units_path = checked_units_path(input_params.get("units_path"))
        allow_hosts = os.environ.get("DEVARIA_ALLOW_HOSTS", "").split(",")
        request = ReadRequest(url, units_path, _limits(), allow_hosts)
        with Reading(request, folder, os.environ) as reading:
            _import_figpack()  # while the child starts and waits for its first bytes
            self.log(f"Loading NWB file from {shown_url(url)}")
            self.log(f"Units path: {units_path}")
            table = reading.table(progress.read, self.log)
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
        progress: Progress,
        end_sec: float,
    ) -> str:
        from devaria.figures.raster import UnitsRasterPlot
        from devaria.figures.upload import UploadLimits, upload_figure

        def built(done: int, total: int) -> None:
            progress.built(done, total)
            if done == total:
                self.log("Created the raster plot")
                self.log("Uploading the figure")

        return upload_figure(
            UnitsRasterPlot(table, built),
            title=TITLE,
            description=_description(input_params),
            progress=progress.uploaded,
            limits=UploadLimits(max_total_sec=end_sec - time.monotonic()),
        )


def _import_figpack() -> None:
    """Import what builds and uploads figures."""
    # Keeps numpy from starting threads for linear algebra, which is not used here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The garbage collector would find nothing, and take 6 % of the time.
    gc.disable()
    try:
        import_module("devaria.figures.upload")
        import_module("devaria.figures.raster")
    finally:
        gc.enable()


def _limits() -> "ReadLimits":
    from devaria.nwb.limits import ReadLimits

    try:
        return ReadLimits.from_environment(os.environ)
    except ValueError as error:  # a ValueError would blame the job's parameters
        raise RuntimeError(str(error)) from None


def _description(input_params: Dict[str, Any]) -> str:
    from devaria.nwb.params import shown_url

    url = _as_code(shown_url(input_params["nwb_url"]))
    return f"NWB file: {url}\n\nUnits table: {_as_code(input_params['units_path'])}"


def _as_code(text: str) -> str:
    """Quote a text for markdown, in a code span with more backticks than the text has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"
