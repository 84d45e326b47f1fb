"""The synthetic NWB file is valid, and looks like published files."""

from pathlib import Path
from typing import Iterator

import h5py
import numpy as np
import pynwb
import pytest

from devaria.nwb.synthetic import MOVIE_PATH, POSE_PATH, write_synthetic_nwb

#: The first and the last rows or columns of a frame.
_EDGE, _END = slice(0, 12), slice(-12, None)


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


@pytest.fixture(scope="module")
def recordings(path: Path) -> Iterator[h5py.File]:
    """Open a file with a pose recording and a calcium movie."""
    whole = path.with_name("recordings.nwb")
    write_synthetic_nwb(whole, num_units=8, duration_sec=60, pose_sec=20, movie_sec=20)
    with h5py.File(whole, "r") as file:
        yield file


def test_movie_is_valid_nwb(path: Path) -> None:
    """The validator finds no errors, and pynwb reads the movie with its rate and its plane."""
    write_synthetic_nwb(path, num_units=3, duration_sec=20, movie_sec=3)
    with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=False) as io:
        assert pynwb.validate(io=io) == []
        movie = io.read().acquisition["TwoPhotonSeries"]
        assert (movie.data.shape, movie.data.dtype) == ((30, 128, 128), np.uint16)
        assert movie.rate == movie.imaging_plane.imaging_rate == 10


def test_cells_flash_after_their_units_spikes(recordings: h5py.File) -> None:
    """Some place of the picture follows the spikes of each unit, as they decay in a second."""
    movie = recordings[MOVIE_PATH]["data"][:].astype(float)
    # Squares of 4 x 4 pixels: less noise, and still smaller than a cell.
    pixels = movie.reshape(200, 32, 4, 32, 4).mean(axis=(2, 4)).reshape(200, -1)
    pixels = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    stops = recordings["units/spike_times_index"][:]
    seconds = np.arange(200) / 10 + 0.1
    for train in np.split(recordings["units/spike_times"][:], stops[:-1]):
        since = seconds[:, None] - train
        calcium = (np.exp(-since.clip(0)) * (since >= 0)).sum(axis=1)
        calcium = (calcium - calcium.mean()) / calcium.std()
        assert (calcium @ pixels / 200).max() > 0.7


def test_movie_is_dim_noisy_and_uneven(recordings: h5py.File) -> None:
    """As in a real one, few pixels are bright, corners are darker, and the dye bleaches."""
    movie = recordings[MOVIE_PATH]["data"][:]
    assert recordings[MOVIE_PATH]["data"].chunks == (1, 128, 128)
    assert np.percentile(movie, 99.5) < 0.5 * movie.max()
    mean = movie.mean(axis=0)
    corners = [mean[rows, columns].mean() for rows in (_EDGE, _END) for columns in (_EDGE, _END)]
    assert max(corners) < mean[48:80, 48:80].mean()
    resting = np.percentile(movie, 20, axis=(1, 2))
    assert resting[:20].mean() > 1.02 * resting[-20:].mean()


def test_pose_has_the_layout_of_its_extension(recordings: h5py.File) -> None:
    """Types, links and attributes are those that ndx-pose 0.2 and later write."""
    pose = recordings[POSE_PATH]
    assert pose.attrs["neurodata_type"] == "PoseEstimation"
    skeleton = pose["skeleton"]
    assert pose.get("skeleton", getlink=True).path == "/processing/behavior/Skeletons/animal"
    assert skeleton.attrs["neurodata_type"] == "Skeleton"
    names = skeleton["nodes"].asstr()[:].tolist()
    assert skeleton["edges"].shape == (10, 2)
    assert skeleton["edges"][:].max() == len(names) - 1
    for number, name in enumerate(names):
        series = pose[name]
        assert series.attrs["neurodata_type"] == "PoseEstimationSeries"
        assert series["data"].attrs["unit"] == "pixels"
        assert series["data"].shape == (600, 2)
        assert np.array_equal(series["timestamps"][:], np.arange(600) / 30)
        link = series.get("timestamps", getlink=True)
        assert isinstance(link, h5py.SoftLink if number else h5py.HardLink)


def test_animal_moves_like_one(recordings: h5py.File) -> None:
    """It stays in the arena, keeps its size, rests and walks, and its paws stand while it walks."""
    pose = recordings[POSE_PATH]
    width, height = pose["dimensions"][0]
    parts = {name: pose[name]["data"][:] for name in pose["skeleton/nodes"].asstr()[:]}
    hidden = 0
    for name, positions in parts.items():
        seen = np.isfinite(positions).all(axis=1)
        confidence = pose[name]["confidence"][:]
        hidden += np.count_nonzero(~seen)
        assert confidence[seen].min() > confidence[~seen].max(initial=0)
        assert np.all((positions[seen] > 0) & (positions[seen] < (width, height)))
        sure = positions[np.flatnonzero(confidence > 0.95)]
        assert np.median(np.hypot(*np.diff(sure, axis=0).T)) < 15
    assert 0 < hidden < 600
    back = np.hypot(*(parts["neck"] - parts["tail_base"]).T)
    assert 60 < np.nanmin(back) < np.nanmax(back) < 100
    speed = _speed(parts["neck"])
    assert np.nanpercentile(speed, 10) < 1 < 3 < np.nanpercentile(speed, 90)
    walks = speed > 3
    stands = _speed(parts["left_forepaw"])[walks] < 1.5
    assert 0.4 < stands.mean() < 0.8


def _speed(positions: np.ndarray) -> np.ndarray:
    """Return the pixels from frame to frame, over three frames: the noise is smaller."""
    return np.hypot(*(positions[3:] - positions[:-3]).T) / 3
