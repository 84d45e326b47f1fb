"""Compare reading one units table from HDF5, Zarr and LINDI files.

    python benchmarks/containers.py [--spikes 1e7] [--repeat 5]

A server process serves the files with the latency and bandwidth of a distant server
(``range_line.py``). The forms are read in turn, each by a reading process of its own, from its
start to the table. The table shows medians, and the ratio to the HDF5 file with the same chunks.
The ratios are similar on other machines; the seconds are not.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path
from typing import Any, Dict, List

import h5py
import numpy as np
import zarr
from range_line import running_line

from devaria.nwb import open_remote

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from zarr_files import lindi_of, zarr_files

#: Chunks as h5py and zarr choose them for such a column, and large ones.
_SMALL, _LARGE = 1_221, 500_000

_UNITS = 300


def main() -> None:
    """Write the files, read them in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=float, default=1e7)
    parser.add_argument("--repeat", type=int, default=5)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_line(Path(name)) as server:
        forms = _write(Path(name), int(told.spikes), server)
        times: Dict[str, List[float]] = {form: [] for form in forms}
        requests: Dict[str, int] = {}
        for number in range(told.repeat + 1):
            for form, url in forms.items():
                urllib.request.urlopen(f"{server}/counts").read()
                start = time.perf_counter()
                with open_remote(url, allow_hosts=["127.0.0.1"]) as file:
                    table = file.units_table()
                    assert len(table.spike_times_sec) == int(told.spikes)
                if number:  # the first run fills caches
                    times[form].append(time.perf_counter() - start)
                counts = json.load(urllib.request.urlopen(f"{server}/counts"))
                requests[form] = counts["requests"]
    base = statistics.median(times["HDF5, large chunks"])
    for form, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{form:28} {median:6.2f} s {median / base:6.2f} x {requests[form]:6} requests")


def _write(folder: Path, num_spikes: int, server: str) -> Dict[str, str]:
    rng = np.random.default_rng(1)
    times = np.sort(rng.random((_UNITS, num_spikes // _UNITS)) * 3600, axis=1).ravel()
    times = np.concatenate([times, np.full(num_spikes - len(times), 3600.0)])
    stops = np.linspace(0, num_spikes, _UNITS + 1).astype(int)[1:]
    forms = {}
    for label, chunk in (("small", _SMALL), ("large", _LARGE)):
        path = folder / f"{label}.nwb"
        with h5py.File(path, "w") as file:
            units = file.create_group("units")
            units.attrs["neurodata_type"] = "Units"
            units.create_dataset("spike_times", data=times, chunks=(chunk,), compression="gzip")
            units["spike_times_index"], units["id"] = stops, np.arange(_UNITS)
        forms[f"HDF5, {label} chunks"] = f"{server}/{path.name}"
        with h5py.File(path, "r") as file:
            document = lindi_of(file, f"{server}/{path.name}", most_chunks=10**9)
            lindi = folder / f"{label}.lindi.json"
            lindi.write_text(json.dumps(document))
            forms[f"LINDI, {label} chunks"] = f"{server}/{lindi.name}"
    with h5py.File(folder / "large.nwb", "r") as file:
        for version in (2, 3) if zarr.__version__ >= "3" else (2,):
            out = folder / f"v{version}.nwb.zarr"
            zarr_files(file, out, version=version, options=_options)
            forms[f"Zarr {version}, large chunks"] = f"{server}/{out.name}"
    return forms


def _options(path: str) -> Dict[str, Any]:
    return {"chunks": (_LARGE,)} if path == "/units/spike_times" else {}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
