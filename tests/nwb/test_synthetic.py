"""The synthetic NWB file is valid, and looks like published files."""

from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest

from devaria.nwb.synthetic import write_synthetic_nwb


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a file to write."""
    return tmp_path_factory.mktemp("synthetic") / "synthetic.nwb"


def test_is_valid_nwb(path: Path) -> None:
    """The validator of pynwb finds no errors, and pynwb reads as many spikes as were reported."""
    num_spikes = write_synthetic_nwb(path)
    with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=False) as io:
        assert pynwb.validate(io=io) == []
        units = io.read().units
        trains = [units["spike_times"][row] for row in range(len(units))]
    assert len(trains) == 60
    assert sum(map(len, trains)) == num_spikes > 60_000
    for train in trains:
        assert np.all(np.diff(train) > 0.002)
        assert 0 <= train.min() <= train.max() < 600


def test_looks_like_published_files(path: Path) -> None:
    """Spike times are stored in many small compressed chunks, and firing rates differ widely."""
    write_synthetic_nwb(path)
    with h5py.File(path, "r") as file:
        assert file["units/spike_times"].compression == "gzip"
        assert file["units/spike_times"].id.get_num_chunks() > 10
        counts = np.diff(file["units/spike_times_index"][:], prepend=0)
    assert counts.max() > 10 * counts.min()


def test_seed_decides(path: Path) -> None:
    """The same seed gives the same spikes; number of units and duration are as requested."""
    spikes = {}
    for seed in (1, 2, 1):
        write_synthetic_nwb(path, num_units=3, duration_sec=20.0, seed=seed)
        with h5py.File(path, "r") as file:
            times = file["units/spike_times"][:]
        assert np.array_equal(spikes.setdefault(seed, times), times)
        assert times.max() < 20
    assert not np.array_equal(spikes[1], spikes[2])
