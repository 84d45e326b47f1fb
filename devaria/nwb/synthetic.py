"""Write a small NWB file of synthetic spikes for demos and tests, without pynwb."""

import datetime
import uuid
from pathlib import Path
from typing import List

import h5py
import numpy as np
import numpy.typing as npt

#: Version of the NWB schema that the file follows. The schema itself is not stored in the file.
_NWB_VERSION = "2.6.0"

#: Firing rates differ widely between neurons. In cortex they are about log-normal, with this spread
#: (Buzsaki & Mizuseki 2014, Nature Reviews Neuroscience 15:264).
_MEDIAN_RATE_HZ = 1.5
_LOG_RATE_SD = 1.0
_REFRACTORY_SEC = 0.002


def write_synthetic_nwb(
    path: Path, *, num_units: int = 60, duration_sec: float = 600.0, seed: int = 0
) -> int:
    """Write an NWB 2 file whose units table ``/units`` has random spike trains.

    Args:
        path: The file to write. An existing file is replaced.
        num_units: Number of units, 1 or more.
        duration_sec: Length of the session in seconds, above 0.
        seed: Seed of the random spikes. The same seed gives the same spikes.

    Returns:
        The number of spikes.
    """
    rng = np.random.default_rng(seed)
    rates_hz = rng.lognormal(np.log(_MEDIAN_RATE_HZ), _LOG_RATE_SD, num_units)
    trains = [_spike_train(rng, rate, duration_sec) for rate in rates_hz]
    with h5py.File(path, "w") as file:
        _write_session(file, num_units, duration_sec)
        _write_units(file, trains)
    return sum(len(train) for train in trains)


def _spike_train(
    rng: np.random.Generator, rate_hz: float, duration_sec: float
) -> "npt.NDArray[np.float64]":
    # Six standard deviations of a Poisson count more than expected, so that the session is filled.
    expected = rate_hz * duration_sec
    number = int(expected + 6 * expected**0.5 + 10)
    times = np.cumsum(_REFRACTORY_SEC + rng.exponential(1 / rate_hz, number))
    return times[times < duration_sec]


def _write_session(file: h5py.File, num_units: int, duration_sec: float) -> None:
    file.attrs["nwb_version"] = _NWB_VERSION
    _mark(file, "core", "NWBFile")
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    file["identifier"] = str(uuid.uuid4())
    file["session_description"] = f"{num_units} synthetic units over {duration_sec:g} s"
    file["session_start_time"] = now
    file["timestamps_reference_time"] = now
    file.create_dataset("file_create_date", data=[now], maxshape=(None,), dtype=h5py.string_dtype())
    for name in ("acquisition", "analysis", "general", "processing", "stimulus"):
        file.create_group(name)
    file.create_group("stimulus/presentation")
    file.create_group("stimulus/templates")


def _write_units(file: h5py.File, trains: List["npt.NDArray[np.float64]"]) -> None:
    units = file.create_group("units")
    _mark(units, "core", "Units")
    units.attrs["description"] = "Synthetic units"
    units.attrs["colnames"] = np.array(["spike_times"], dtype=h5py.string_dtype())
    ids = units.create_dataset("id", data=np.arange(len(trains)))
    _mark(ids, "hdmf-common", "ElementIdentifiers")
    times = np.concatenate(trains)
    # h5py's default chunks, which are small, as in most published files.
    column = units.create_dataset("spike_times", data=times, chunks=True, compression="gzip")
    _mark(column, "hdmf-common", "VectorData")
    column.attrs["description"] = "The spike times of each unit, in seconds"
    stops = np.cumsum([len(train) for train in trains], dtype=np.uint32)
    index = units.create_dataset("spike_times_index", data=stops)
    _mark(index, "hdmf-common", "VectorIndex")
    index.attrs["description"] = "Where the spike times of each unit end"
    index.attrs["target"] = column.ref


def _mark(target: h5py.HLObject, namespace: str, neurodata_type: str) -> None:
    target.attrs["namespace"] = namespace
    target.attrs["neurodata_type"] = neurodata_type
    target.attrs["object_id"] = str(uuid.uuid4())
