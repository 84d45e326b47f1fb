"""Write a small synthetic NWB file for demos and tests, without pynwb.

::

    session  what every file holds, and how its objects are marked
    units    random spike trains
    pose     an animal that walks in an arena
    movie    a calcium movie of cells that flash after the units' spikes
"""

from pathlib import Path

import h5py

from devaria.nwb.synthetic.movie import MOVIE_PATH, write_movie
from devaria.nwb.synthetic.pose import POSE_PATH, write_pose
from devaria.nwb.synthetic.session import write_session
from devaria.nwb.synthetic.units import UNITS_PATH, spike_trains, write_units

__all__ = ["MOVIE_PATH", "POSE_PATH", "UNITS_PATH", "write_synthetic_nwb"]


def write_synthetic_nwb(
    path: Path,
    *,
    num_units: int = 60,
    duration_sec: float = 600.0,
    seed: int = 0,
    pose_sec: float = 0.0,
    movie_sec: float = 0.0,
) -> int:
    """Write an NWB 2 file whose units table ``/units`` has random spike trains.

    Args:
        path: The file to write. An existing file is replaced.
        num_units: Number of units, 1 or more.
        duration_sec: Length of the session in seconds, above 0.
        seed: Seed of all that is random. The same seed gives the same spikes.
        pose_sec: Length of a pose recording at `POSE_PATH`, in seconds; 0 for none.
        movie_sec: Length of a calcium movie at `MOVIE_PATH`, in seconds; 0 for none.

    Returns:
        The number of spikes.
    """
    trains = spike_trains(num_units, duration_sec, seed)
    with h5py.File(path, "w") as file:
        write_session(file, f"{num_units} synthetic units over {duration_sec:g} s")
        write_units(file, trains)
        if pose_sec:
            write_pose(file, pose_sec, seed)
        if movie_sec:
            write_movie(file, trains, movie_sec, seed)
    return sum(len(train) for train in trains)
