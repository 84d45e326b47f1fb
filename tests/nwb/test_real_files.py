"""Real NWB files over HTTP: the figure equals figpack's but for labels and its end."""

from pathlib import Path
from typing import Any, Dict

import h5py
import numpy as np
import pytest
import zarr
from figpack_spike_sorting.views import RasterPlot
from nwb_files import (
    REAL_DIR,
    REAL_FILES,
    WITHOUT_UNITS,
    add_last_counts,
    needs_real_files,
)
from range_server import LOOPBACK, RangeServer

from devaria.figures.raster import UnitsRasterPlot
from devaria.nwb.errors import InvalidInputError
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable

pytestmark = needs_real_files

#: The front end of the view, in the figure.
SCRIPT = "extension-figpack-spike-sorting.js"


def read(name: str, units_path: str) -> UnitsTable:
    """Read a units table of a real file over HTTP."""
    with RangeServer({"/real.nwb": (REAL_DIR / name).read_bytes()}) as server, open_remote_file(
        HttpRanges(server.url("/real.nwb"), allow_hosts=LOOPBACK)
    ) as (file, file_bytes):
        return read_units_table(file, units_path, file_bytes=file_bytes)


def bundle(view: Any, folder: Path) -> Dict[str, bytes]:
    """Save a figure, and return the bytes of each of its files."""
    view.save(str(folder), title="T")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class GroupWithEnd:
    """A zarr group that adds what figpack leaves out at the end: a reference point, and counts."""

    def __init__(self, group: Any, table: UnitsTable) -> None:
        self._group, self._table = group, table
        times = table.spike_times_sec
        self._ends = {"reference_times": times.max(), "reference_indices": len(times)}

    def __getattr__(self, name: str) -> Any:
        """Be the group in all else."""
        return getattr(self._group, name)

    def create_dataset(self, name: str, *, data: Any, **options: Any) -> Any:
        """Write an array."""
        if name in self._ends:
            data = np.append(data, self._ends[name]).astype(data.dtype)
            options["chunks"] = data.shape
        if name == "spike_counts_1sec":
            add_last_counts(data, self._table)
        return self._group.create_dataset(name, data=data, **options)


@pytest.mark.parametrize("name", REAL_FILES)
def test_figure_is_figpacks(name: str, tmp_path: Path) -> None:
    """The figure is figpack's own, but for a script, and what it lacks at its end."""
    units_path, num_units, num_spikes = REAL_FILES[name]
    table = read(name, units_path)
    assert (len(table.unit_ids), len(table.spike_times_sec)) == (num_units, num_spikes)
    with h5py.File(REAL_DIR / name, "r") as file:
        stock = RasterPlot.from_nwb_units_table(file, units_path=units_path)
    stock.end_time_sec = max(stock.end_time_sec, float(table.spike_times_sec.max()))
    write = stock.write_to_zarr_group
    stock.write_to_zarr_group = lambda group: write(GroupWithEnd(group, table))
    ours = bundle(UnitsRasterPlot(table), tmp_path / "ours")
    # zarr 3 leaves chunks of zeros out of figpack's figures; ours have them.
    with zarr.config.set({"array.write_empty_chunks": True}):
        theirs = bundle(stock, tmp_path / "stock")
    # tests/figures/test_raster_script.py is about what is changed in it.
    assert ours.pop(SCRIPT) != theirs.pop(SCRIPT)
    assert ours == theirs


@pytest.mark.parametrize("name", WITHOUT_UNITS)
def test_file_without_units_says_what_it_has(name: str) -> None:
    """If there is no ``/units``, the error lists the units tables of the file."""
    with pytest.raises(InvalidInputError) as caught:
        read(name, "/units")
    assert str(caught.value) == (
        f"units_path /units is not in the file; units tables in the file: {WITHOUT_UNITS[name]}"
    )


def test_all_real_files_are_covered() -> None:
    """Every file of the collection is in one of the two lists."""
    assert {path.name for path in REAL_DIR.glob("*.nwb")} == {*REAL_FILES, *WITHOUT_UNITS}
