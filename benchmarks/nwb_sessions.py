"""Write NWB files like those that labs publish: units next to large other data. Uses pynwb.

    python benchmarks/nwb_sessions.py FOLDER SPIKES auto|large|tiny|scattered|table

Existing files are kept.
"""

import datetime
import sys
from pathlib import Path
from typing import Any, List

import h5py
import numpy as np
import numpy.typing as npt
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorData, VectorIndex
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.misc import Units

from devaria.nwb.units.table import UnitsTable, save_table

#: Values in a chunk of ``spike_times`` by layout. None means h5py's guess: 9,766 for 10 million.
CHUNK_LENGTHS = {"auto": None, "large": 500_000, "tiny": 1024, "scattered": None}

#: Mean number of spikes of a unit, which sets the number of units. Firing rates are log-normal.
_SPIKES_PER_UNIT = 20_000
_MEAN_RATE_HZ = 4.0

_OTHER_BYTES = 120_000_000
_RAW_CHUNK_LENGTH = 64 * 1024

Array = npt.NDArray[Any]


def spike_trains(num_spikes: int) -> List["npt.NDArray[np.float64]"]:
    """Generate spike trains. The same number gives the same trains.

    Args:
        num_spikes: Approximate number of spikes in all.

    Returns:
        For each of 50 to 800 units, its spike times: float64, seconds, ascending.
    """
    rng = np.random.default_rng(num_spikes)
    num_units = min(max(num_spikes // _SPIKES_PER_UNIT, 50), 800)
    duration_sec = num_spikes / num_units / _MEAN_RATE_HZ
    shares = rng.lognormal(0, 1, num_units)
    numbers = (shares / shares.sum() * num_spikes).astype(int) + 1
    return [np.sort(rng.uniform(0, duration_sec, number)) for number in numbers]


def make_file(folder: Path, num_spikes: int, layout: str) -> None:
    """Write the file of a session, ``FOLDER/SPIKES_LAYOUT.nwb``.

    Args:
        folder: An existing folder.
        num_spikes: Approximate number of spikes.
        layout: A key of ``CHUNK_LENGTHS``. With "scattered", the chunks lie between raw data.
    """
    path = folder / f"{num_spikes}_{layout}.nwb"
    if not path.exists():
        print(f"Writing {path.name}", flush=True)
        partial = path.with_name(f"partial_{path.name}")
        _write(partial, num_spikes, layout)
        partial.rename(path)


def make_table(folder: Path, num_spikes: int) -> None:
    """Write the units table from which building starts, as ``FOLDER/SPIKES_table``.

    Args:
        folder: An existing folder.
        num_spikes: Approximate number of spikes.
    """
    table = folder / f"{num_spikes}_table"
    if not table.exists():
        partial = table.with_name(f"partial_{table.name}")
        partial.mkdir(exist_ok=True)
        save_table(_table(num_spikes), partial)
        partial.rename(table)


def _table(num_spikes: int) -> UnitsTable:
    trains = spike_trains(num_spikes)
    return UnitsTable(
        unit_ids=[str(number) for number in range(len(trains))],
        unit_rows=np.arange(len(trains)),
        spike_times_sec=np.concatenate([train.astype(np.float32) for train in trains]),
        unit_stops=np.cumsum([len(train) for train in trains]),
        start_time_sec=min(float(train[0]) for train in trains),
        end_time_sec=max(float(train[-1]) for train in trains),
        num_rows=len(trains),
        num_dropped=0,
    )


def _write(path: Path, num_spikes: int, layout: str) -> None:
    session = NWBFile(
        session_description="a benchmark",
        identifier=path.name,
        session_start_time=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    )
    trains = spike_trains(num_spikes)
    values = np.concatenate(trains)
    length = CHUNK_LENGTHS[layout] or _guessed_length(len(values))
    # A scattered file is filled later, so only its shape is given here.
    shape = {"shape": values.shape, "dtype": values.dtype} if layout == "scattered" else {}
    times = H5DataIO(
        None if shape else values,
        chunks=(length,),
        compression="gzip",
        compression_opts=4,
        **shape,
    )
    noise = np.random.default_rng(0).integers(-500, 500, _OTHER_BYTES // 2, dtype=np.int16)
    raw = H5DataIO(
        None if shape else noise,
        chunks=(_RAW_CHUNK_LENGTH,),
        **({"shape": noise.shape, "dtype": noise.dtype} if shape else {}),
    )
    session.add_acquisition(TimeSeries(name="raw", data=raw, unit="V", rate=30_000.0))
    column = VectorData(name="spike_times", description="times", data=times)
    stops = np.cumsum([len(train) for train in trains])
    index = VectorIndex(name="spike_times_index", data=stops, target=column)
    session.units = Units(
        name="units",
        description="units",
        columns=[column, index],
        colnames=["spike_times"],
        id=np.arange(len(trains)),
    )
    with NWBHDF5IO(path, "w") as io:
        io.write(session)
        if shape:
            _fill_by_turns(times.dataset, values, raw.dataset, noise)


def _guessed_length(num_values: int) -> int:
    with h5py.File("guess", "w", driver="core", backing_store=False) as file:
        return int(file.create_dataset("x", (num_values,), "f8", chunks=True).chunks[0])


def _fill_by_turns(times: h5py.Dataset, values: Array, raw: h5py.Dataset, noise: Array) -> None:
    """Write raw data and chunks of spike times in turn, as a recorder does."""
    (step,) = times.chunks
    raw_step = -(-len(noise) * step // len(values))
    for turn in range(-(-len(values) // step)):
        raw[turn * raw_step : (turn + 1) * raw_step] = noise[turn * raw_step :][:raw_step]
        times[turn * step : (turn + 1) * step] = values[turn * step :][:step]


if __name__ == "__main__":
    where, number, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if what == "table":
        make_table(where, number)
    else:
        make_file(where, number, what)
