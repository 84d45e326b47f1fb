"""Synthetic units: random spike trains."""

from typing import List

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.synthetic.session import mark, marked_group

#: Where the units table lies in the file.
UNITS_PATH = "/units"

#: The namespace of tables and their columns.
_TABLES = "hdmf-common"

#: Firing rates differ widely between neurons. In cortex they are about log-normal, with this spread
#: (Buzsaki & Mizuseki 2014, Nature Reviews Neuroscience 15:264).
_MEDIAN_RATE_HZ = 1.5
_LOG_RATE_SD = 1.0
_REFRACTORY_SEC = 0.002


def spike_trains(num_units: int, duration_sec: float, seed: int) -> List["npt.NDArray[np.float64]"]:
    """Make random spike trains.

    Args:
        num_units: Number of units, 1 or more.
        duration_sec: Length of the session in seconds, above 0.
        seed: Seed of the random spikes. The same seed gives the same spikes.

    Returns:
        The spike times of each unit in seconds, ascending.
    """
    rng = np.random.default_rng(seed)
    rates_hz = rng.lognormal(np.log(_MEDIAN_RATE_HZ), _LOG_RATE_SD, num_units)
    return [_spike_train(rng, rate, duration_sec) for rate in rates_hz]


def write_units(file: h5py.File, trains: List["npt.NDArray[np.float64]"]) -> None:
    """Write the units table ``/units``.

    Args:
        file: The file.
        trains: The spike times of each unit in seconds, ascending.
    """
    colnames = np.array(["spike_times"], dtype=h5py.string_dtype())
    units = marked_group(
        file, UNITS_PATH, "Units", description="Synthetic units", colnames=colnames
    )
    mark(units.create_dataset("id", data=np.arange(len(trains))), "ElementIdentifiers", _TABLES)
    times = np.concatenate(trains)
    # h5py's default chunks, which are small, as in most published files.
    column = units.create_dataset("spike_times", data=times, chunks=True, compression="gzip")
    mark(column, "VectorData", _TABLES)
    column.attrs["description"] = "The spike times of each unit, in seconds"
    stops = np.cumsum([len(train) for train in trains], dtype=np.uint32)
    index = units.create_dataset("spike_times_index", data=stops)
    mark(index, "VectorIndex", _TABLES)
    index.attrs["description"] = "Where the spike times of each unit end"
    index.attrs["target"] = column.ref


def _spike_train(
    rng: np.random.Generator, rate_hz: float, duration_sec: float
) -> "npt.NDArray[np.float64]":
    # Six standard deviations of a Poisson count more than expected, so that the session is filled.
    expected = rate_hz * duration_sec
    number = int(expected + 6 * expected**0.5 + 10)
    times = np.cumsum(_REFRACTORY_SEC + rng.exponential(1 / rate_hz, number))
    return times[times < duration_sec]
