"""Exceptions for wrong parameters and for files that cannot be used.

::

    ValueError
    └── InvalidInputError    a job parameter is wrong: the URL, or a path in the file
        └── NotInFileError   a path names nothing in the file
    JobError
    └── NwbError             the file cannot be used: unreachable, broken, hostile, or no spikes
        └── NoFileError      the server answers, but not with a file; it may be a folder
"""

from devaria.common.errors import JobError


class InvalidInputError(ValueError):
    """A job parameter is wrong. The submitter can correct it."""


class NotInFileError(InvalidInputError):
    """A path names nothing in the file."""


class NwbError(JobError):
    """The file cannot be used. The text is one complete, printable line."""


class NoFileError(NwbError):
    """The server answers, but not with a file. It may be a folder."""
