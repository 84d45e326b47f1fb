"""Every exception that devaria raises on purpose, and the exit codes of its commands.

::

    DevariaError
    ├── OperatorError            the operator's to mend; ends the command with `exit_code`
    │   ├── MissingKey           an environment variable with a key is not set
    │   ├── BadSetting           an option, environment variable or file does not make sense
    │   ├── DirectoryLocked      another runner works in this directory
    │   └── WorkerGivenUp        the worker did not answer for too long at start
    ├── WorkerError              what a request to the worker came to
    │   ├── TransientError       may be tried again
    │   │   ├── NoAnswer         refused, timed out, or cut off: it may or may not have acted
    │   │   ├── RateLimited      429; says when to come back
    │   │   ├── ServerError      5xx; may be permanent for one and the same body
    │   │   └── StrangeAnswer    not what this contract answers: HTML, a redirect, success:false
    │   ├── Unauthorized         401: the key is not accepted
    │   ├── NotFound             404: no such job or runner
    │   ├── ClaimLost            409: somebody else has the job, or it is gone
    │   ├── NotOurs              400: the job is not claimed by this runner (any more)
    │   ├── TooLarge             400 or 413: a field, or all together, is over a size limit
    │   └── Refused              any other 400
    └── JobInputError            job parameters given on the command line cannot be read
"""

from typing import Optional

#: Everything went well.
EXIT_OK = 0
#: The job failed (`devaria submit --wait`), or the demo did.
EXIT_FAILED = 1
#: Click's own: an unknown option or a value that does not parse.
EXIT_USAGE = 2
#: `devaria status`: a runner is there, but its worker has been silent for 5 minutes.
EXIT_SILENT = 8
#: A key is missing from the environment.
EXIT_NO_KEY = 3
#: The worker does not accept the key (401).
EXIT_UNAUTHORIZED = 4
#: The worker could not be reached, or did not answer as a worker does.
EXIT_UNREACHABLE = 5
#: Another runner works in the same directory.
EXIT_LOCKED = 6
#: A file, directory or setting cannot be used.
EXIT_CONFIG = 7
#: Ended by SIGINT before the work was done (128 + 2).
EXIT_INTERRUPTED = 130
#: Ended by SIGTERM before the work was done (128 + 15).
EXIT_TERMINATED = 143


class DevariaError(Exception):
    """The root: its text is one line that may be shown to a user as it stands."""

    exit_code = EXIT_FAILED


class OperatorError(DevariaError):
    """Something that only the operator can mend."""

    exit_code = EXIT_CONFIG


class MissingKey(OperatorError):
    """A key is not in the environment.

    Args:
        variable: The environment variable that should hold it.
    """

    exit_code = EXIT_NO_KEY

    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} is not set. Set it with:\n\n    export {variable}=<your key>\n"
        )


class BadSetting(OperatorError):
    """A setting, file or directory that cannot be used."""


class DirectoryLocked(OperatorError):
    """Another runner works in this directory."""

    exit_code = EXIT_LOCKED


class WorkerGivenUp(OperatorError):
    """The worker gave no usable answer for too long."""

    exit_code = EXIT_UNREACHABLE


class WorkerError(DevariaError):
    """A request to the worker did not come to what it was sent for."""

    exit_code = EXIT_UNREACHABLE


class TransientError(WorkerError):
    """May be tried again: says nothing about the job."""

    #: Seconds that the server asks to wait for, where it does.
    retry_after_sec: Optional[float] = None


class NoAnswer(TransientError):
    """The connection was refused, timed out or broke; the worker may or may not have acted."""


class RateLimited(TransientError):
    """Too many requests (429).

    Args:
        message: One line for the log.
        retry_after_sec: Seconds until the worker takes requests again, where it says so.
    """

    def __init__(self, message: str, retry_after_sec: Optional[float] = None) -> None:
        super().__init__(message)
        self.retry_after_sec = retry_after_sec


class ServerError(TransientError):
    """The worker answered 5xx. One that repeats for the same body is a refusal of that body."""


class StrangeAnswer(TransientError):
    """An answer that this contract does not have: a proxy's page, a redirect, `success: false`."""


class Unauthorized(WorkerError):
    """The worker does not accept the key (401)."""

    exit_code = EXIT_UNAUTHORIZED


class NotFound(WorkerError):
    """The worker knows no such job or runner (404)."""

    exit_code = EXIT_FAILED


class ClaimLost(WorkerError):
    """The job cannot be claimed: taken, finished, deleted, or already ours (409)."""


class NotOurs(WorkerError):
    """The worker says that the job is not claimed by this runner, or not any more (400)."""


class TooLarge(WorkerError):
    """A field is over the worker's size limit (400), or the body over a proxy's (413)."""


class Refused(WorkerError):
    """The worker refuses the request for good (400)."""

    exit_code = EXIT_FAILED


class JobInputError(DevariaError):
    """Job parameters that cannot be read."""

    exit_code = EXIT_USAGE
