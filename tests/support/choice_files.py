"""A file with what the optional parameters of a raster plot name: columns of units, and trials."""

import io
from typing import Any, Dict, List

import h5py
import numpy as np
from nwb_files import add_units

DURATION_SEC = 100.0
TRIAL_STARTS = np.arange(3.0, 97.0, 4.0)
REGIONS = ["CA3", "CA1", "DG"]


def columns_of(num_units: int) -> Dict[str, Any]:
    """Return columns with a value for each unit."""
    numbers = np.arange(num_units)
    regions: List[str] = [REGIONS[number % len(REGIONS)] for number in numbers]
    return {
        "depth": (numbers * 37 % num_units) * 10.0,
        "region": np.array(regions, dtype=h5py.string_dtype()),
        "quality": numbers % 2,
    }


def trains_of_units(num_units: int) -> List[Any]:
    """Return spike trains that answer each trial 0.3 s after its start; rates grow with numbers."""
    rng = np.random.default_rng(0)
    trains = []
    for number in range(num_units):
        rate = 1 + 8 * number / num_units
        noise = rng.uniform(0, DURATION_SEC, int(rate * DURATION_SEC))
        answers = np.repeat(TRIAL_STARTS, 3) + 0.3 + rng.normal(0, 0.05, 3 * len(TRIAL_STARTS))
        trains.append(np.sort(np.concatenate([noise, answers])))
    return trains


def choice_file(num_units: int = 12, **more: Any) -> bytes:
    """Return the bytes of a file with units from id 100 on, trials, and more columns of units."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        ids = 100 + np.arange(num_units)
        units = add_units(file, trains_of_units(num_units), ids=ids)
        for name, values in {**columns_of(num_units), **more}.items():
            units[name] = values
        units["tags"] = np.zeros(2 * num_units)
        units["tags_index"] = 2 * np.arange(1, num_units + 1)
        units.create_dataset("group", data=[units.ref] * num_units, dtype=h5py.ref_dtype)
        trials = file.create_group("intervals/trials")
        trials.attrs["neurodata_type"] = "TimeIntervals"
        trials["start_time"] = np.append(TRIAL_STARTS, np.nan)
        trials["label"] = np.array(["x"] * (len(TRIAL_STARTS) + 1), dtype=h5py.string_dtype())
    return buffer.getvalue()
