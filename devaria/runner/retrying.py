"""The main thread's requests and waits: tried again while it makes sense, cut short when not."""

import contextlib
import logging
import threading
import time
from typing import Callable, Iterator, List, Optional, Tuple, Type, TypeVar, Union

from devaria.client.client import WorkerClient
from devaria.common.errors import TransientError, Unauthorized, WorkerError, WorkerGivenUp
from devaria.common.retry import Backoff
from devaria.execution.signals import StopRequest, Wakeup

T = TypeVar("T")

#: Keys are rotated by people: one that is refused is tried again this often, in seconds.
UNAUTHORIZED_WAIT_SEC = 300.0

#: How long an answer that is on its way is waited for after it became unwanted, in seconds.
_GRACE_SEC = 1.5
_LONG_SEC = 3600.0

_NEVER_FINAL = (TransientError, Unauthorized)

_log = logging.getLogger(__name__)


class AbandonedError(Exception):
    """Nobody waits for the answer any more, since the operator ends the runner."""


class Caller:
    """Makes requests to the worker for the main thread.

    A request runs in a thread of its own for as long as it takes, since no signal interrupts it
    on every system; the main thread waits for it only while its answer is wanted. That is, until
    the operator's first signal, or, where a method is told to be `patient`, the second one.

    Args:
        client: The client for these requests.
        wakeup: What the main thread waits on.
        stop: What the operator has asked for.
        on_answer: Called at every good answer.
    """

    def __init__(
        self,
        client: WorkerClient,
        wakeup: Wakeup,
        stop: StopRequest,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self._wakeup = wakeup
        self._stop = stop
        self._on_answer = on_answer
        self._is_failing = False

    @contextlib.contextmanager
    def acting_as(self, runner_id: str) -> Iterator[None]:
        """Make requests under another runner id for a while.

        Args:
            runner_id: An id that jobs were claimed under before.
        """
        own_id = self.client.runner_id
        self.client.runner_id = runner_id
        try:
            yield
        finally:
            self.client.runner_id = own_id

    def once(self, request: Callable[[WorkerClient], T], *, patient: bool = False) -> T:
        """Make one request.

        Args:
            request: Is given the client.
            patient: Wait for the answer also after the operator's first signal.

        Returns:
            What the request returns.

        Raises:
            AbandonedError: The answer became unwanted first.
            WorkerError: As the request raises it.
        """
        results: List[T] = []
        errors: List[BaseException] = []
        client = self.client

        def work() -> None:
            try:
                results.append(request(client))
            except BaseException as error:  # raised below, in the thread that asked
                errors.append(error)
            self._wakeup.notify()

        started = time.monotonic()
        threading.Thread(target=work, name="request", daemon=True).start()
        while not results and not errors:
            if patient:
                self._stop.say_once()
            unwanted_since = self._stop.since(patient=patient)
            if unwanted_since is None:
                self._wakeup.wait(_LONG_SEC)
                continue
            left = max(unwanted_since, started) + _GRACE_SEC - time.monotonic()
            if left > 0:
                self._wakeup.wait(left)
            else:
                self.client = client.another()  # the request keeps the old one's session
                raise AbandonedError
        if errors:
            raise errors[0]
        return results[0]

    def until_answered(
        self,
        request: Callable[[WorkerClient], T],
        *,
        patient: bool = False,
        give_up_at: Optional[float] = None,
        final: Union[Type[WorkerError], Tuple[Type[WorkerError], ...]] = WorkerError,
    ) -> T:
        """Make one request again and again, with back-off, until it is answered.

        Of the failures, only the first and the recovery are logged.

        Args:
            request: Is given the client.
            patient: Go on also after the operator's first signal.
            give_up_at: When to give up, on the monotonic clock in seconds; None for never. With a
                bound, a key that is refused is not tried again.
            final: The errors that are an answer, of those that are not transient; any other comes
                from something that stands in the worker's place, and is tried again.

        Returns:
            What the request returns.

        Raises:
            AbandonedError: The answer became unwanted first.
            WorkerGivenUp: The time was over.
            WorkerError: One that is final.
        """
        backoff = Backoff()
        while True:
            try:
                answer = self.once(request, patient=patient)
            except WorkerError as error:
                if isinstance(error, final) and not isinstance(error, _NEVER_FINAL):
                    raise
                wait_sec = _wait_after(error, backoff)
                if give_up_at is not None:
                    seconds_left = give_up_at - time.monotonic()
                    _check_patience(error, seconds_left)
                    wait_sec = min(wait_sec, seconds_left)
                self._log_failure(error)
            else:
                self._log_recovery()
                self._on_answer()
                return answer
            self.pause(wait_sec, patient=patient)

    def pause(self, seconds: float, *, patient: bool = False) -> None:
        """Sleep.

        Args:
            seconds: How long.
            patient: Sleep on after the operator's first signal.

        Raises:
            AbandonedError: The operator's signal came first.
        """
        end = time.monotonic() + seconds
        while True:
            if patient:
                self._stop.say_once()
            if self._stop.since(patient=patient) is not None:
                raise AbandonedError
            left = end - time.monotonic()
            if left <= 0:
                return
            self._wakeup.wait(left)

    def _log_failure(self, error: WorkerError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning("the worker does not answer as it should, trying on: %s", error)

    def _log_recovery(self) -> None:
        if self._is_failing:
            self._is_failing = False
            _log.info("the worker answers again")


def _wait_after(error: WorkerError, backoff: Backoff) -> float:
    if isinstance(error, Unauthorized):
        return UNAUTHORIZED_WAIT_SEC
    return backoff.next_wait_sec(
        error.retry_after_sec if isinstance(error, TransientError) else None
    )


def _check_patience(error: WorkerError, seconds_left: float) -> None:
    if isinstance(error, Unauthorized):
        raise error
    if seconds_left <= 0:
        raise WorkerGivenUp(f"gave up on the worker: {error}") from error
