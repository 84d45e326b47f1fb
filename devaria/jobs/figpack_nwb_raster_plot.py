"""figpack_nwb_raster_plot: draw a raster plot of a remote NWB file's units table."""

from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence, Tuple

from devaria.figures.progress import Progress
from devaria.jobs.nwb_figure import Figure, NwbFigureHandler, figure_params
from devaria.jobs.params import Param

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb
    from devaria.nwb.units.table import UnitsTable


class FigpackNwbRasterPlotHandler(NwbFigureHandler):
    """Reads a units table over HTTP ranges, and uploads a raster plot of all its units."""

    title: ClassVar[str] = "Raster Plot from NWB Units Table"
    figure_name: ClassVar[str] = "raster plot"
    path_param: ClassVar[str] = "units_path"
    path_example: ClassVar[str] = "/units"
    source_name: ClassVar[str] = "Units table"
    params: ClassVar[Mapping[str, Param]] = figure_params(
        units_path=Param(str, "path of a units table in the file, such as /units")
    )
    packages: ClassVar[Mapping[str, Tuple[str, str]]] = {
        "figpack_spike_sorting": ("figpack-spike-sorting", "figpack")
    }
    modules: ClassVar[Sequence[str]] = ("devaria.figures.raster",)

    def read(
        self, file: "RemoteNwb", path: str, params: Mapping[str, Any], progress: Progress
    ) -> "UnitsTable":
        """Read the units table."""
        del params, progress  # the bytes that are read are all its progress
        table = file.units_table(path)
        spikes, units = len(table.spike_times_sec), len(table.unit_ids)
        self.log(f"Read {spikes:,} spikes of {units:,} units")
        return table

    def draw(self, data: "UnitsTable", params: Mapping[str, Any], progress: Progress) -> Figure:
        """Build the raster plot, and say what it leaves out."""
        del params
        from devaria.figures.raster import UnitsRasterPlot
        from devaria.figures.raster_notes import from_second, notes_on

        def built(done: int, total: int) -> None:
            progress.built("Sorted", done, total, "spikes")

        view = UnitsRasterPlot(data, built)
        return Figure(view, notes_on(data), title_end=from_second(data))
