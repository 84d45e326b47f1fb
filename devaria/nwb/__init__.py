"""Read remote NWB files.

    from devaria.nwb import open_remote

    with open_remote(url) as file:
        node = file.look("/acquisition")
        values = file.read("/acquisition/x/data", rows=slice(0, 1000))

A submitted URL and the file behind it come from a stranger, so no module trusts them. A child
process without keys parses the file (`sandbox`). Importing this package is cheap: it needs neither
h5py nor numpy, which are optional.

::

    sandbox/       `open_remote`, and the process that does the reading, with few rights
    node           what a group or dataset holds
    container      what is asked of an open file, of any kind
    links          which URL a pasted link means
    embargo        asks the DANDI Archive for the signed URL of an embargoed file
    params         checks the form of a URL and of a units path
    limits         the operator's limits on what is read
    errors         the exceptions for wrong parameters, and for files that cannot be used
    http/          byte ranges of one file over HTTP, and the objects of a folder
    decoding/      chunks of values: which are wanted, and their filters
    hdf5/          HDF5 files over those ranges
    zarr/          Zarr folders, and LINDI files
    file_kind      names the format of a file that is not HDF5
    units/         the units table of an open file, as arrays and as files that one process hands to
                   another
    pose/          a pose estimation: its parts, their times, its skeleton
    images/        frames of an image series: which are shown, and when they were taken
    synthetic/     writes a small NWB file for demos and tests
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devaria.nwb.sandbox.opening import open_remote

__all__ = ["open_remote"]


def __getattr__(name: str) -> Any:
    """Import what handlers use when it is first used, since it takes long."""
    if name == "open_remote":
        from devaria.nwb.sandbox.opening import open_remote

        return open_remote
    raise AttributeError(name)
