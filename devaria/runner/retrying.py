"""Make the main thread's requests: repeated with back-off, ended by the operator's signal."""

import logging
import math
import queue
import threading
import time
from typing import Any, Callable, Generic, Optional, Tuple, Type, TypeVar, Union

from devaria.client.client import WorkerClient
from devaria.common.errors import (
    TransientError,
    Unauthorized,
    WorkerError,
    WorkerGivenUp,
)
from devaria.common.retry import NOT_THE_JOBS, Backoff, Failures, backoff_of
from devaria.execution.signals import StopRequest, Wakeup
from devaria.runner.status import StatusFile

T = TypeVar("T")

#: The longest wait at a time, in seconds. The wake-up ends it sooner.
_LONG_SEC = 3600.0

#: After a failure of any request, for this time in seconds, others are tried more often: so often.
_FLAKY_SEC, _MORE_IF_FLAKY = 60.0, 3
_Errors = Union[Type[WorkerError], Tuple[Type[WorkerError], ...]]

_log = logging.getLogger(__name__)


class AbandonedError(Exception):
    """A wait has ended without its result, since the operator ends the runner."""


class _Exchange(Generic[T]):
    """One request for the request thread, and its answer or error."""

    def __init__(self, request: Callable[[WorkerClient], T]) -> None:
        self.request = request
        self.is_over = False
        self._answer: Optional[T] = None
        self._error: Optional[BaseException] = None

    def make(self, client: WorkerClient) -> None:
        """Make the request; an error is kept for the thread that asked."""
        try:
            self._answer = self.request(client)
        except BaseException as error:
            self._error = error
        self.is_over = True

    def result(self) -> T:
        """Return the answer, or raise the error."""
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value] # it is a T, and a T may be None


class _RequestThread:
    """Makes one request after another over one client."""

    def __init__(self, client: WorkerClient, on_over: Callable[[], None]) -> None:
        self.client = client
        self._on_over = on_over
        self._exchanges: queue.SimpleQueue[Optional[_Exchange[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="requests", daemon=True).start()

    def send(self, exchange: "_Exchange[T]") -> None:
        """Make a request after those that were sent before."""
        self._exchanges.put(exchange)

    def end(self) -> None:
        """End the thread and its client's connections, after a request that still hangs."""
        self._exchanges.put(None)

    def _work(self) -> None:
        while True:
            exchange = self._exchanges.get()
            if exchange is None:
                self.client.close()
                return
            exchange.make(self.client)
            self._on_over()


class Caller:
    """Makes requests to the worker for the main thread.

    A thread of its own makes them, since a signal does not interrupt a request on every system.
    The main thread waits until the operator's first signal. A report that is owed has until the
    second one, and at most `Timing.last_report_sec` after the first.

    Args:
        client: The client for these requests.
        wakeup: What the main thread waits on.
        stop: What the operator has asked for.
        status: Keeps the time of the last good answer.
    """

    def __init__(
        self,
        client: WorkerClient,
        wakeup: Wakeup,
        stop: StopRequest,
        status: StatusFile,
    ) -> None:
        self._timing = client.timing
        self._thread = _RequestThread(client, wakeup.notify)
        self._wakeup = wakeup
        self._stop = stop
        self._status = status
        self._is_failing = False
        self._failed_at = -math.inf

    @property
    def max_failures(self) -> int:
        """How often a request may fail until the fault is that request's, and not the worker's."""
        is_flaky = time.monotonic() - self._failed_at < _FLAKY_SEC
        return self._timing.claim_failures * (_MORE_IF_FLAKY if is_flaky else 1)

    def heartbeat_client(self) -> WorkerClient:
        """Return a client for the thread of the heartbeats."""
        return self._thread.client.another(self._timing.of_heartbeats)

    def close(self) -> None:
        """End the request thread and its connections."""
        self._thread.end()

    def once(
        self,
        request: Callable[[WorkerClient], T],
        *,
        owed_since: Optional[float] = None,
        changes_nothing: bool = False,
    ) -> T:
        """Make one request.

        Args:
            request: Called with the client, in the request thread.
            owed_since: Since when a report is owed that the request belongs to; None for others.
            changes_nothing: Whether the request changes nothing at the worker. The operator's
                signal then ends the wait for its answer at once.

        Returns:
            What the request returns.

        Raises:
            AbandonedError: The operator's signal came first.
            WorkerError: The error that the request raised.
        """
        exchange = _Exchange(request)
        started = time.monotonic()
        self._thread.send(exchange)
        while not exchange.is_over:
            unwanted_at = self._unwanted_at(owed_since)
            if unwanted_at is None:
                self._wakeup.wait(_LONG_SEC)
                continue
            grace_sec = 0.0 if changes_nothing else self._timing.unwanted_answer_sec
            left = max(unwanted_at, started) + grace_sec - time.monotonic()
            if left <= 0:
                self._replace_thread()  # the request still hangs in this one
                raise AbandonedError
            self._wakeup.wait(left)
        return exchange.result()

    def until_answered(
        self,
        request: Callable[[WorkerClient], T],
        *,
        owed_since: Optional[float] = None,
        changes_nothing: bool = False,
        give_up_at: Optional[float] = None,
        final: _Errors = WorkerError,
        repeated: _Errors = (TransientError, Unauthorized),
    ) -> T:
        """Make one request again and again, with back-off, until it is answered.

        Only the first failure and the recovery are logged.

        Args:
            request: Called with the client, in the request thread.
            owed_since: As for `once`.
            changes_nothing: As for `once`.
            give_up_at: When to give up, on the monotonic clock in seconds; None for never. With a
                bound, a key that is refused is not tried again.
            final: The errors that count as an answer. Others may come from something in the
                worker's place, such as a proxy.
            repeated: Those after which it is repeated even if `final` includes them.

        Returns:
            What the request returns.

        Raises:
            AbandonedError: The operator's signal came first.
            WorkerGivenUp: There was no answer before `give_up_at`.
            WorkerError: An error that is final.
        """
        backoff = backoff_of(self._timing)
        while True:
            try:
                answer = self.once(request, owed_since=owed_since, changes_nothing=changes_nothing)
            except WorkerError as error:
                if isinstance(error, final) and not isinstance(error, repeated):
                    raise
                wait_sec = self._wait_after(error, backoff)
                if give_up_at is not None:
                    _check_patience(error, give_up_at - time.monotonic())
                    wait_sec = min(wait_sec, max(give_up_at - time.monotonic(), 0.0))
                self._log_failure(error)
            else:
                self._log_recovery()
                self._status.last_contact_at = time.time()
                return answer
            self.pause(wait_sec, owed_since=owed_since)

    def few_times(
        self, request: Callable[[WorkerClient], T], *, owed_since: Optional[float] = None
    ) -> T:
        """Make one request as `until_answered` does; raise its error if it fails several times."""
        failures = Failures(self._timing)
        while True:
            try:
                return self.until_answered(request, owed_since=owed_since, repeated=NOT_THE_JOBS)
            except WorkerError as error:
                self._log_failure(error)
                wait_sec = failures.note(error)
                if failures.count >= self.max_failures:
                    raise
            self.pause(wait_sec, owed_since=owed_since)

    def pause(
        self,
        seconds: float,
        *,
        owed_since: Optional[float] = None,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Sleep.

        Args:
            seconds: How long.
            owed_since: As for `once`.
            unless: The sleep ends when this is true; looked at after each wake-up.

        Raises:
            AbandonedError: The operator's signal came first.
        """
        end = time.monotonic() + seconds
        while True:
            unwanted_at = self._unwanted_at(owed_since)
            now = time.monotonic()
            if unwanted_at is not None and now >= unwanted_at:
                raise AbandonedError
            if now >= end or unless():
                return
            self._wakeup.wait(min(end, end if unwanted_at is None else unwanted_at) - now)

    def _replace_thread(self) -> None:
        client = self._thread.client.another()
        self._thread.end()
        self._thread = _RequestThread(client, self._wakeup.notify)

    def _unwanted_at(self, owed_since: Optional[float]) -> Optional[float]:
        """Return from when on no answer is wanted any more; None as long as there is no signal."""
        first = self._stop.since(patient=False)
        if owed_since is None or first is None:
            return first
        self._stop.say_once()
        last = max(first, owed_since) + self._timing.last_report_sec
        second = self._stop.since(patient=True)
        return last if second is None else min(last, second)

    def _wait_after(self, error: WorkerError, backoff: Backoff) -> float:
        if isinstance(error, Unauthorized):
            return self._timing.unauthorized_wait_sec
        return backoff.next_wait_sec(
            error.retry_after_sec if isinstance(error, TransientError) else None
        )

    def _log_failure(self, error: WorkerError) -> None:
        self._failed_at = time.monotonic()
        if not self._is_failing:
            self._is_failing = True
            _log.warning("the worker does not answer as it should, trying again: %s", error)

    def _log_recovery(self) -> None:
        if self._is_failing:
            self._is_failing = False
            _log.info("the worker answers again")


def _check_patience(error: WorkerError, seconds_left: float) -> None:
    """Raise an error if a request with a time limit is not to be repeated."""
    if isinstance(error, Unauthorized):
        raise error
    if seconds_left <= 0:
        raise WorkerGivenUp(f"gave up on the worker: {error}") from error
