"""Open a remote file: the entrance of `devaria.nwb` for handlers."""

import os
from pathlib import Path
from typing import Optional, Sequence

from devaria.nwb.limits import ReadLimits
from devaria.nwb.links import DANDI_KEY_VARIABLE, file_url, may_be_embargoed
from devaria.nwb.sandbox.parent import Opening, ReadProgress, Say
from devaria.nwb.sandbox.remote import RemoteNwb


def open_remote(
    url: str,
    *,
    limits: Optional[ReadLimits] = None,
    allow_hosts: Optional[Sequence[str]] = None,
    folder: Optional[Path] = None,
    say: Say = lambda _line: None,
    progress: ReadProgress = lambda _done, _total: None,
) -> RemoteNwb:
    """Open a remote NWB file, for the length of a ``with`` block.

    A child process without keys reads the file. It starts at once. A URL that cannot be reached
    is an error of the first operation.

    Args:
        url: http or https URL of an HDF5 file, a Zarr folder or a LINDI file, or one of the links
            that `file_url` takes.
        limits: How much is read at most. Default: those that the operator has set in the
            environment.
        allow_hosts: Hosts that may be connected to although they are not public. Default: those in
            ``DEVARIA_ALLOW_HOSTS``.
        folder: An empty folder for temporary files, and for the spike times of ``units_table``. It
            must stay as long as these are used. Default: a new one, which is removed at the end of
            the block.
        say: Called with lines for the console.
        progress: Called as ``progress(done_bytes, total_bytes)`` while an operation reads. Both
            count stored bytes of that operation.

    Returns:
        The file.

    Raises:
        InvalidInputError: The URL is not an http or https URL, or leads to a page about a file.
        NwbError: The operator's key of the DANDI Archive is of no use for an embargoed file.
        ValueError: A variable sets a limit to no valid number.
        OSError: The process cannot be started.
    """
    if allow_hosts is None:
        allow_hosts = os.environ.get("DEVARIA_ALLOW_HOSTS", "").split(",")
    limits = limits or ReadLimits.from_environment(os.environ)
    opening = Opening(_with_access(file_url(url)), limits, allow_hosts)
    return RemoteNwb(opening, folder, os.environ, say=say, progress=progress)


def _with_access(url: str) -> str:
    """Return a signed URL if the file may be embargoed, and the operator allows its use."""
    if not may_be_embargoed(url, os.environ):
        return url
    from devaria.nwb.embargo import signed_url  # imports requests, which few jobs need here

    return signed_url(url, os.environ[DANDI_KEY_VARIABLE].strip())
