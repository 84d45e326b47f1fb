"""The figpack view of a units table: figpack's raster plot, with arrays built by numpy."""

from dataclasses import replace
from typing import Sequence

import figpack
import numpy as np
from figpack_spike_sorting.views import RasterPlot

from devaria.figures.chunks import writing_all_chunks
from devaria.figures.raster_arrays import (
    BuildProgress,
    counts_per_second,
    reference_points,
    refuse_many_counts,
    spikes_in_time_order,
)
from devaria.figures.raster_notes import distinct_labels, from_second
from devaria.figures.raster_script import raster_extension
from devaria.nwb.errors import NwbError
from devaria.nwb.units.choice import Group
from devaria.nwb.units.table import UnitsTable

#: Length of the chunks into which figpack divides the spikes of a large figure.
_CHUNK_SPIKES = 2_000_000


#: How the front end knows the name of a group.
_GROUP_MARK = "\u2063"

#: figpack numbers rows in 16 bits.
_MOST_ROWS = 65_536


class UnitsRasterPlot(RasterPlot):  # type: ignore[misc]  # figpack is untyped
    """A raster plot of all units of a table.

    Args:
        table: The units. The table must not change afterwards.
        progress: Called while the figure is written, with the spikes sorted so far and with all.
        groups: Groups of the units, in their order. Each gets a row above it, with its name.

    Raises:
        NwbError: The figure would be too large.
    """

    def __init__(
        self,
        table: UnitsTable,
        progress: BuildProgress = lambda _done, _all: None,
        groups: Sequence[Group] = (),
    ) -> None:
        if table.end_time_sec == table.start_time_sec:
            # A range of no length cannot be drawn: show one second.
            start = table.start_time_sec - 0.5
            table = replace(table, start_time_sec=start, end_time_sec=start + 1)
        # The front end leaves out the last spike if it lies behind the end: by rounding, it may.
        end = max(table.end_time_sec, float(np.float32(table.end_time_sec)))
        super().__init__(start_time_sec=table.start_time_sec, end_time_sec=end, plots=[])
        self.extension = raster_extension(f"Time {from_second(table)}".strip())
        self._labels = distinct_labels(table.unit_ids)
        self._table = table
        if groups:
            self._add_names(groups)
        refuse_many_counts(self._table)
        self._progress = progress

    def write_to_zarr_group(self, group: figpack.Group) -> None:
        """Write the same data as figpack's own method, but faster.

        Args:
            group: The zarr group of the figure.
        """
        # Call the method that RasterPlot inherits: its own method would write an empty plot.
        figpack.ExtensionView.write_to_zarr_group(self, group)
        with writing_all_chunks():
            self._write_spikes(group)
            self._write_counts(group)
        # In one call: each change of an attribute writes all of them to the disk.
        group.attrs.update(
            start_time_sec=self.start_time_sec,
            end_time_sec=self.end_time_sec,
            unit_ids=self._labels,
            total_spikes=len(self._table.spike_times_sec),
        )

    def _add_names(self, groups: Sequence[Group]) -> None:
        """Add a unit without spikes behind each group. The first row is at the bottom."""
        ends = np.cumsum([group.num_units for group in groups])
        stops = self._table.unit_stops
        self._table = replace(self._table, unit_stops=np.insert(stops, ends, stops[ends - 1]))
        for end, group in reversed(list(zip(ends.tolist(), groups))):
            self._labels.insert(end, _GROUP_MARK + group.name)
        if len(self._labels) > _MOST_ROWS:
            raise NwbError(f"{len(stops):,} units and {len(groups):,} groups are too many to draw")

    def _write_spikes(self, group: figpack.Group) -> None:
        times, units = spikes_in_time_order(self._table, self._progress)
        reference_times, reference_indices = reference_points(times)
        chunks = (min(len(times), _CHUNK_SPIKES),)
        group.create_dataset("timestamps", data=times, chunks=chunks)
        group.create_dataset("unit_indices", data=units, chunks=chunks)
        chunks = (len(reference_times),)
        group.create_dataset("reference_times", data=reference_times, chunks=chunks)
        group.create_dataset("reference_indices", data=reference_indices, chunks=chunks)

    def _write_counts(self, group: figpack.Group) -> None:
        counts = counts_per_second(self._table)
        chunks = (min(counts.shape[0], 10_000), min(counts.shape[1], 500))
        group.create_dataset("spike_counts_1sec", data=counts, chunks=chunks)
