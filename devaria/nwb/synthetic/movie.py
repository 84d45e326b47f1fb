"""A synthetic calcium movie: cells that flash after the spikes of the units."""

from typing import Iterator, List

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.synthetic.session import marked_group

#: Where the movie lies in the file.
MOVIE_PATH = "/acquisition/TwoPhotonSeries"

_RATE_HZ = 10.0
_SIZE = 128

#: How fast the fluorescence of a cell decays after a spike, as with GCaMP6s.
_DECAY_SEC = 1.0

#: Brightness of the tissue, and of a cell's brightest flash, in counts of the detector.
_TISSUE, _FLASH = 420.0, 2600.0

#: Frames that are made at once.
_BLOCK = 100

_Frames = "npt.NDArray[np.float32]"


def write_movie(
    file: h5py.File, trains: List["npt.NDArray[np.float64]"], duration_sec: float, seed: int
) -> None:
    """Write a movie of one cell a unit: uint16, 128 x 128 pixels, 10 frames a second.

    Args:
        file: The file.
        trains: The spike times of each unit in seconds, ascending.
        duration_sec: Length of the movie in seconds.
        seed: Seed of the cells' places and of the noise.
    """
    num_frames = int(duration_sec * _RATE_HZ)
    series = marked_group(
        file, MOVIE_PATH, "TwoPhotonSeries", description="Synthetic calcium movie", comments="none"
    )
    data = series.create_dataset(
        "data",
        (num_frames, _SIZE, _SIZE),
        np.uint16,
        chunks=(1, _SIZE, _SIZE),
        compression="gzip",
        compression_opts=1,
    )
    data.attrs.update(unit="n.a.", conversion=1.0, resolution=-1.0, offset=0.0)
    start = 0
    for block in _frames(trains, num_frames, np.random.default_rng(seed)):
        data[start : start + len(block)] = block
        start += len(block)
    series.create_dataset("starting_time", data=0.0).attrs.update(rate=_RATE_HZ, unit="seconds")
    series["dimension"] = np.array([_SIZE, _SIZE], np.int32)
    series["format"] = "raw"
    series["imaging_plane"] = _imaging_plane(file)


def _imaging_plane(file: h5py.File) -> h5py.SoftLink:
    """Write what NWB wants to know of a microscope; return the link to it."""
    marked_group(file, "general/devices/Microscope", "Device", description="There was none")
    path = "/general/optophysiology/ImagingPlane"
    plane = marked_group(file, path, "ImagingPlane")
    plane["description"] = "A made-up plane"
    plane["excitation_lambda"] = 920.0
    plane["imaging_rate"] = _RATE_HZ
    plane["indicator"] = "none"
    plane["location"] = "nowhere"
    plane["device"] = h5py.SoftLink("/general/devices/Microscope")
    channel = marked_group(plane, "OpticalChannel", "OpticalChannel")
    channel["description"] = "Green"
    channel["emission_lambda"] = 520.0
    return h5py.SoftLink(path)


def _frames(
    trains: List["npt.NDArray[np.float64]"], num_frames: int, rng: np.random.Generator
) -> Iterator["npt.NDArray[np.uint16]"]:
    cells = np.stack([_cell(rng) for _ in trains]).reshape(len(trains), -1)
    tissue = _tissue(rng)
    # Resting cells are a little brighter than the tissue.
    rest = tissue * (1 + 0.5 * np.minimum(cells.sum(axis=0), 1.0))
    flashes = np.stack([_flashes(train, num_frames) for train in trains], axis=1)
    flashes *= rng.uniform(0.4, 1.0, len(trains)).astype(np.float32) * _FLASH
    vignette = _vignette().ravel()
    drift = _drift(num_frames)
    for start in range(0, num_frames, _BLOCK):
        stop = min(start + _BLOCK, num_frames)
        light = (flashes[start:stop] @ cells + rest) * vignette * drift[start:stop, None]
        noise = rng.standard_normal(light.shape, dtype=np.float32)
        # The noise of photons grows with the root of their number; the detector adds some.
        light += noise * np.sqrt(4.0 * light + 600.0)
        yield light.clip(0, 65535).astype(np.uint16).reshape(-1, _SIZE, _SIZE)


def _grid() -> "npt.NDArray[np.float32]":
    return np.mgrid[:_SIZE, :_SIZE].astype(np.float32)


def _cell(rng: np.random.Generator) -> "npt.NDArray[np.float32]":
    """Return the picture of one cell: a round spot of Gaussian shape."""
    row, column = rng.uniform(6, _SIZE - 6, 2)
    radius = rng.uniform(2.0, 3.2)
    rows, columns = _grid()
    squares = (rows - row) ** 2 + (columns - column) ** 2
    return np.asarray(np.exp(-squares / (2 * radius**2)), np.float32)


def _tissue(rng: np.random.Generator) -> "npt.NDArray[np.float32]":
    """Return the tissue between the cells: cloudy, with two dark vessels through it."""
    rows, columns = _grid() / _SIZE
    clouds = np.zeros((_SIZE, _SIZE), np.float32)
    for _ in range(24):
        waves = rng.normal(0, 4, 2)
        clouds += np.cos(2 * np.pi * (waves[0] * rows + waves[1] * columns + rng.uniform()))
    tissue = _TISSUE * (1 + 0.03 * clouds)
    for start, slope, width in ((0.2, 0.55, 0.016), (0.95, -0.3, 0.024)):
        middle = start + slope * columns + 0.04 * np.sin(9 * columns + 6 * start)
        tissue *= 1 - 0.55 * np.exp(-(((rows - middle) / width) ** 2))
    return np.asarray(tissue, np.float32).ravel()


def _flashes(train: "npt.NDArray[np.float64]", num_frames: int) -> "npt.NDArray[np.float32]":
    """Return a cell's brightness in each frame, 0 to about 1: it decays after each spike."""
    bins = (train * _RATE_HZ).astype(np.intp)
    spikes = np.bincount(bins[bins < num_frames], minlength=num_frames)
    keep = np.exp(-1 / (_DECAY_SEC * _RATE_HZ))
    calcium = np.zeros(num_frames, np.float32)
    level = 0.0
    # Twice: a recording begins in the midst of activity, here as it ends.
    for frame, number in [*enumerate(spikes.tolist())] * 2:
        level = level * keep + number
        calcium[frame] = level
    # The indicator answers to several spikes more than in proportion, and a cell that is always
    # active looks like one that rests: only more than its usual activity shows.
    above = np.maximum(calcium - np.median(calcium), 0.0)
    return np.asarray((above / max(float(above.max()), 1.0)) ** 1.5, np.float32)


def _vignette() -> "npt.NDArray[np.float32]":
    rows, columns = _grid() / _SIZE - 0.5
    return np.asarray(1 - 0.9 * (rows**2 + columns**2), np.float32)


def _drift(num_frames: int) -> "npt.NDArray[np.float32]":
    """Return the brightness of each frame: the dye bleaches, and the focus wanders."""
    seconds = np.arange(num_frames) / _RATE_HZ
    return np.asarray(
        (0.8 + 0.2 * np.exp(-seconds / 40)) * (1 + 0.03 * np.sin(seconds / 9)), np.float32
    )
