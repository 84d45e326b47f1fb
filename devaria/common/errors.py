"""Every exception that devaria raises on purpose, and the exit codes of its commands.

::

    DevariaError
    ├── OperatorError            the operator must correct it; ends the command with `exit_code`
    │   ├── MissingKey           an environment variable with a key is not set
    │   ├── BadSetting           an option, environment variable or file cannot be used
    │   ├── DirectoryLocked      another runner works in this directory
    │   ├── WorkerGivenUp        the worker did not answer for too long at start
    │   └── OutOfResources       memory, open files or threads ran out, again and again
    ├── WorkerError              a request to the worker failed
    │   ├── TransientError       may be tried again
    │   │   ├── NoAnswer         refused, timed out or broken off: the worker may have acted or not
    │   │   ├── RateLimited      429; may say when to try again
    │   │   ├── ServerError      5xx; may be permanent for the same body
    │   │   └── StrangeAnswer    not an answer of this contract: HTML, a redirect, success:false
    │   ├── Unauthorized         401: the key is not accepted
    │   ├── NotFound             404: no such job or runner
    │   ├── ClaimLost            409: another runner has the job, or it is gone
    │   ├── NotOurs              400: this runner has not claimed the job, or not any more
    │   ├── TooLarge             400 or 413: a field or the whole body is over a size limit
    │   └── Refused              any other 400
    ├── JobError                 a job failed for a reason that its handler has foreseen
    └── JobInputError            job parameters given on the command line cannot be read
"""

import errno
from typing import Optional

#: Success.
EXIT_OK = 0
#: The job or the demo failed; `devaria status`: no runner is running.
EXIT_FAILED = 1
#: Wrong usage: an unknown option, or a value that cannot be parsed. click uses it too.
EXIT_USAGE = 2
#: A key is missing from the environment.
EXIT_NO_KEY = 3
#: The worker does not accept the key (401).
EXIT_UNAUTHORIZED = 4
#: The worker could not be reached, or gave no valid answer.
EXIT_UNREACHABLE = 5
#: Another runner works in the same directory.
EXIT_LOCKED = 6
#: A file, directory or setting cannot be used.
EXIT_CONFIG = 7
#: `devaria status`: the runner is running, but its worker has been silent for 5 minutes.
EXIT_SILENT = 8
#: A runner ran out of memory, open files or threads, again and again.
EXIT_OUT_OF_RESOURCES = 9
#: Ended by SIGINT before the work was done (128 + 2).
EXIT_INTERRUPTED = 130
#: Ended by SIGTERM before the work was done (128 + 15).
EXIT_TERMINATED = 143


class DevariaError(Exception):
    """Base class of all errors here. The text is written for the user."""

    exit_code = EXIT_FAILED


class OperatorError(DevariaError):
    """An error that only the operator can correct."""

    exit_code = EXIT_CONFIG


class MissingKey(OperatorError):
    """An environment variable with a key is not set.

    Args:
        variable: The name of the environment variable.
    """

    exit_code = EXIT_NO_KEY

    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} is not set. Set it with:\n\n    export {variable}=<your key>\n"
        )


class BadSetting(OperatorError):
    """A setting, file or directory cannot be used."""


class DirectoryLocked(OperatorError):
    """Another runner works in this directory."""

    exit_code = EXIT_LOCKED


class WorkerGivenUp(OperatorError):
    """The worker gave no usable answer for too long."""

    exit_code = EXIT_UNREACHABLE


class OutOfResources(OperatorError):
    """Memory, open files or threads ran out, and waiting did not help."""

    exit_code = EXIT_OUT_OF_RESOURCES


class WorkerError(DevariaError):
    """A request to the worker failed."""

    exit_code = EXIT_UNREACHABLE
    #: The status of the answer; None if there was none.
    status: Optional[int] = None


class TransientError(WorkerError):
    """A request that may be tried again; it says nothing about the job."""

    #: Seconds after which the server asks to try again; None if it does not say.
    retry_after_sec: Optional[float] = None


class NoAnswer(TransientError):
    """The connection was refused, timed out or broke; the worker may or may not have acted."""


class RateLimited(TransientError):
    """Too many requests (429).

    Args:
        message: One line for the log.
        retry_after_sec: Seconds until the worker takes requests again; None if it does not say.
    """

    def __init__(self, message: str, retry_after_sec: Optional[float] = None) -> None:
        super().__init__(message)
        self.retry_after_sec = retry_after_sec


class ServerError(TransientError):
    """The worker answered 5xx. If it repeats for the same body, the worker refuses that body."""


class StrangeAnswer(TransientError):
    """The answer is not one of this contract: a proxy's page, a redirect, `success: false`."""


class Unauthorized(WorkerError):
    """The worker does not accept the key (401)."""

    exit_code = EXIT_UNAUTHORIZED


class NotFound(WorkerError):
    """The worker knows no such job or runner (404)."""

    exit_code = EXIT_FAILED


class ClaimLost(WorkerError):
    """The job cannot be claimed: it is taken, finished, deleted, or already this runner's (409)."""


class NotOurs(WorkerError):
    """This runner has not claimed the job, or not any more (400)."""


class TooLarge(WorkerError):
    """A field is over the worker's size limit (400), or the body is over a proxy's (413)."""


class Refused(WorkerError):
    """The worker refuses the request, now and later (400)."""

    exit_code = EXIT_FAILED


class JobError(DevariaError):
    """A job failed for a reason that its handler has foreseen; handlers raise it.

    The text is for the public: it is the job's error message, and no traceback is shown.
    """


class JobInputError(DevariaError):
    """Job parameters on the command line cannot be read."""

    exit_code = EXIT_USAGE


_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


def out_of_resources(error: BaseException) -> bool:
    """Return whether an error means that memory, stack, open files or threads have run out.

    Nothing is wrong then with what was in hand. It may succeed a moment later.
    """
    if isinstance(error, OSError):
        return error.errno in _USED_UP
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    return no_thread or isinstance(error, (MemoryError, RecursionError))
