"""figpack_nwb_raster_plot: draw a raster plot of a remote NWB file's units table."""

from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Dict,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from devaria.figures.progress import Progress
from devaria.jobs.base import HeartbeatCallback
from devaria.jobs.nwb_figure import Figure, NwbFigureHandler, figure_params
from devaria.jobs.params import Param

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb
    from devaria.nwb.units.choice import Chosen
    from devaria.nwb.units.extra import Events
    from devaria.nwb.units.table import UnitsTable


class _Read(NamedTuple):
    """What `read` hands to `draw`.

    Args:
        table: All units with spikes.
        chosen: Those that are drawn.
        events: The events around which spikes are shown.
    """

    table: "UnitsTable"
    chosen: "Chosen"
    events: "Optional[Events]"


class FigpackNwbRasterPlotHandler(NwbFigureHandler):
    """Reads a units table over HTTP ranges, and uploads a raster plot of its units."""

    title: ClassVar[str] = "Raster Plot from NWB Units Table"
    figure_name: ClassVar[str] = "raster plot"
    path_param: ClassVar[str] = "units_path"
    path_example: ClassVar[str] = "/units"
    source_name: ClassVar[str] = "Units table"
    params: ClassVar[Mapping[str, Param]] = figure_params(
        units_path=Param(str, "path of a units table in the file, such as /units"),
        units=Param(list, "ids or rows of the units to draw, such as [3, 7]", default=None),
        sort_by=Param(
            str, "column of the table, or firing_rate: the lowest at the bottom", default=""
        ),
        group_by=Param(str, "column of the table: equal values are grouped and named", default=""),
        align_to=Param(
            str,
            "column of event times, such as /intervals/trials/start_time: a second tab shows the "
            "spikes around them",
            default="",
        ),
    )
    unsaid: ClassVar[Sequence[str]] = ("units", "sort_by", "group_by", "align_to")
    packages: ClassVar[Mapping[str, Tuple[str, str]]] = {
        "figpack_spike_sorting": ("figpack-spike-sorting", "figpack")
    }
    modules: ClassVar[Sequence[str]] = ("devaria.figures.raster",)

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job, unless one of the optional parameters is malformed."""
        from devaria.nwb.params import checked_choice

        checked_choice(input_params)
        return super().execute(input_params, heartbeat_callback)

    def read(
        self, file: "RemoteNwb", path: str, params: Mapping[str, Any], progress: Progress
    ) -> _Read:
        """Read the units table, and what the optional parameters ask for."""
        del progress  # the bytes that are read are all of it
        from devaria.nwb.params import checked_choice
        from devaria.nwb.units.choice import choose
        from devaria.nwb.units.extra import read_events

        choice = checked_choice(params)
        events = read_events(file, choice.align_to) if choice.align_to else None
        table = file.units_table(path)
        spikes, units = len(table.spike_times_sec), len(table.unit_ids)
        self.log(f"Read {spikes:,} spikes of {units:,} units")
        return _Read(table, choose(file, path, table, choice), events)

    def draw(self, data: _Read, params: Mapping[str, Any], progress: Progress) -> Figure:
        """Build the raster plot, and say what it leaves out."""
        del params
        from devaria.figures.raster import UnitsRasterPlot
        from devaria.figures.raster_notes import from_second, notes_on

        def built(done: int, total: int) -> None:
            progress.built("Sorted", done, total, "spikes")

        view = UnitsRasterPlot(data.chosen.table, built, data.chosen.groups)
        notes = [*notes_on(data.table), *data.chosen.notes]
        if data.events is not None:
            view, note = _with_events(view, data.chosen.table, data.events)
            notes.append(note)
        return Figure(view, notes, title_end=from_second(data.table))


def _with_events(view: Any, table: "UnitsTable", events: "Events") -> Tuple[Any, str]:
    """Add a tab with the spikes around events, and say what it shows."""
    from devaria.figures.raster_aligned import WINDOW_SEC, AlignedView, aligned, in_tabs
    from devaria.figures.raster_notes import distinct_labels

    spikes = aligned(table, events.times_sec - table.time_offset_sec)
    around = AlignedView(spikes, distinct_labels(table.unit_ids), events.name)
    first, last = WINDOW_SEC
    note = (
        f"Spikes from {first:g} to {last:g} s around {spikes.num_events:,} of "
        f"{len(events.times_sec):,} events of {events.path}"
    )
    if events.num_dropped:
        note += f"; {events.num_dropped:,} have no time"
    return in_tabs(view, around, f"Around {events.name}"), note
