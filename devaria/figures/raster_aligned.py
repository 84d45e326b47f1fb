"""The figpack view of spikes around events. Its front end is in ``static/raster_aligned.js``."""

from typing import Any, List, NamedTuple, Sequence

import figpack
import numpy as np
import numpy.typing as npt

from devaria.figures.chunks import writing_all_chunks
from devaria.figures.extension import own_extension
from devaria.figures.raster_arrays import in_order, trains_of
from devaria.nwb.errors import NwbError
from devaria.nwb.units.table import UnitsTable

#: What is shown around each event, and the bins of the rate, in seconds.
WINDOW_SEC = (-1.0, 2.0)
BIN_SEC = 0.05

#: Most events that are shown, and most spikes around them, of all units.
MAX_EVENTS, MAX_SPIKES = 2_000, 20_000_000

_CHUNK_SPIKES = 250_000


class AlignedSpikes(NamedTuple):
    """Spikes around events, unit by unit, and in a unit event by event.

    Args:
        times_sec: float32, relative to the event.
        events: uint16, the numbers of the events among those that are shown.
        unit_stops: For each unit, the position after its last spike.
        num_events: How many events are shown.
    """

    times_sec: "npt.NDArray[np.float32]"
    events: "npt.NDArray[np.uint16]"
    unit_stops: "npt.NDArray[np.int64]"
    num_events: int


def aligned(table: UnitsTable, event_times_sec: "npt.NDArray[np.float64]") -> AlignedSpikes:
    """Find the spikes around events.

    Args:
        table: The units.
        event_times_sec: Times of the events in the table's time, ascending. If there are too many
            of them or too many spikes, every second one is shown, or every third, and so on.

    Raises:
        NwbError: There is no spike around any event.
    """
    trains = [in_order(train) for train in trains_of(table)]
    shown = event_times_sec[:: -(-len(event_times_sec) // MAX_EVENTS)]
    total = 0
    for train in trains:
        starts, stops = _bounds(train, shown)
        total += int((stops - starts).sum())
    if total == 0:
        raise NwbError("align_to: there is no spike around any event; do both have the same clock?")
    shown = shown[:: -(-total // MAX_SPIKES)]
    times: List[npt.NDArray[np.float32]] = []
    events: List[npt.NDArray[np.uint16]] = []
    for train in trains:
        starts, stops = _bounds(train, shown)
        counts = stops - starts
        # The positions of all these spikes: from each start, one after another.
        before = np.repeat(np.cumsum(counts) - counts, counts)
        places = np.arange(counts.sum()) - before + np.repeat(starts, counts)
        relative = train[places].astype(np.float64) - np.repeat(shown, counts)
        times.append(relative.astype(np.float32))
        events.append(np.repeat(np.arange(len(shown), dtype=np.uint16), counts))
    unit_stops = np.cumsum([len(each) for each in times], dtype=np.int64)
    return AlignedSpikes(np.concatenate(times), np.concatenate(events), unit_stops, len(shown))


def _bounds(train: "npt.NDArray[np.float32]", events: "npt.NDArray[np.float64]") -> Any:
    first, last = WINDOW_SEC
    return train.searchsorted(events + first), train.searchsorted(events + last, side="right")


class AlignedView(figpack.ExtensionView):  # type: ignore[misc]  # figpack is untyped
    """Spikes around events, of one unit at a time, and its rate above.

    Args:
        spikes: The spikes.
        labels: A label for each unit.
        event_name: What the events are called.
    """

    def __init__(self, spikes: AlignedSpikes, labels: Sequence[str], event_name: str) -> None:
        super().__init__(
            extension=own_extension("devaria-aligned", "page", "raster_aligned"),
            view_type="devaria.Aligned",
        )
        self._spikes = spikes
        self._labels = list(labels)
        self._event_name = event_name

    def write_to_zarr_group(self, group: figpack.Group) -> None:
        """Write the figure's data.

        Args:
            group: The zarr group of the view.
        """
        super().write_to_zarr_group(group)
        spikes = self._spikes
        chunks = (min(len(spikes.times_sec), _CHUNK_SPIKES),)
        with writing_all_chunks():
            group.create_dataset("times", data=spikes.times_sec, chunks=chunks)
            group.create_dataset("events", data=spikes.events, chunks=chunks)
        group.attrs.update(
            labels=self._labels,
            unit_stops=spikes.unit_stops.tolist(),
            num_events=spikes.num_events,
            event_name=self._event_name,
            window_sec=list(WINDOW_SEC),
            bin_sec=BIN_SEC,
        )


def in_tabs(raster: Any, around: AlignedView, label: str) -> Any:
    """Return a view of two tabs.

    Args:
        raster: The view of the first one.
        around: The view of the second one.
        label: The label of the second one.
    """
    from figpack.views import TabLayout, TabLayoutItem

    items = [TabLayoutItem(raster, label="Raster"), TabLayoutItem(around, label=label)]
    return TabLayout(items=items)
