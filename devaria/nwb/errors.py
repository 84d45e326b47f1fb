"""What can be wrong with a submitted file, and how to name it in one line.

ValueError
└── InvalidInputError    the job's parameters are wrong: a URL or a path that cannot be meant
Exception
└── NwbError             the parameters are well-formed, but the file is no use: unreachable,
                         broken, hostile, or without spikes
"""


class InvalidInputError(ValueError):
    """A job parameter is wrong; whoever submitted it can mend it."""


class NwbError(Exception):
    """The file cannot be drawn; the text says why and stands alone."""
