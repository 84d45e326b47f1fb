"""Report a job's outcome to the worker, for as long as it takes."""

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Iterator, Optional, TypeVar

from devaria.client.client import WorkerClient
from devaria.client.models import JobState
from devaria.common.errors import (
    Refused,
    ServerError,
    StrangeAnswer,
    TooLarge,
    WorkerError,
)
from devaria.common.js_json import compact_json
from devaria.common.retry import NOT_THE_JOBS, Failures
from devaria.common.text import shortened
from devaria.common.timing import Timing
from devaria.execution.outcome import JobOutcome, fitted
from devaria.runner.journal import JournalEntry
from devaria.runner.retrying import Caller

_SHORT_CONSOLE_BYTES = 100_000

T = TypeVar("T")

_log = logging.getLogger(__name__)


def deliver(caller: Caller, entry: JournalEntry, timing: Timing) -> bool:
    """Report an outcome until the worker acknowledges it.

    After a transient failure the report is sent again, without end. A report that the worker
    refuses for its content is sent again with less: a short console, then none. If a result is
    still refused, an error that says so is sent in its place.

    Args:
        caller: Makes the requests.
        entry: A job with its outcome.
        timing: Holds how often a refused report is repeated before it is sent with less, and for
            how long a report is sent when the operator ends the runner.

    Returns:
        Whether the worker has this outcome; False if the job is not this runner's any more.

    Raises:
        AbandonedError: The operator ends the runner; the outcome is still owed.
    """
    report = _Report(caller, entry, timing)
    for outcome in _ever_smaller(entry):
        try:
            return report.is_delivered(outcome)
        except (TooLarge, _RefusedBodyError) as error:
            _log.warning("job %s: the worker refuses this report: %s", entry.job_id, error)
    # This one holds nothing that a worker could refuse, so it is repeated without end.
    last = JobOutcome(None, "Job execution failed: the worker refused every report of it", "")
    return report.is_delivered(last, is_last=True)


#: The errors that may be about the body of a report. A firewall answers with a page of its own.
_REFUSALS = (Refused, ServerError, StrangeAnswer)


class _RefusedBodyError(Refused):
    """The worker answered this body with errors again and again, but accepts heartbeats."""


class _Report:
    """The report of one job. Each of its requests is tried again by itself.

    Args:
        caller: Makes the requests.
        entry: The job.
        timing: As for `deliver`.
    """

    def __init__(self, caller: Caller, entry: JournalEntry, timing: Timing) -> None:
        self._caller = caller
        self._job_id = entry.job_id
        self._runner_id = entry.runner_id
        self._timing = timing
        self._owed_since = time.monotonic()

    def is_delivered(self, outcome: JobOutcome, *, is_last: bool = False) -> bool:
        """Send one form of the report until it is acknowledged.

        Args:
            outcome: The form.
            is_last: Whether there is none with less in it.

        Returns:
            Whether the worker has it; False if the job is not this runner's any more.

        Raises:
            TooLarge: The worker, or what is before it, refuses the size.
            _RefusedBodyError: The worker refuses it, as far as one can tell from repeated 500s.
        """
        failures = Failures(self._timing)
        repeats_left = (
            self._timing.repeats_for_less_console
            if outcome.console_output
            else self._timing.repeats_for_loss
        )
        while True:
            try:
                self._ask(partial(self._send, outcome), repeated=NOT_THE_JOBS)
            except WorkerError as error:
                if isinstance(error, TooLarge) and not is_last:
                    raise
                settled = self._settled(outcome)
                if settled is not None:
                    return settled
                if isinstance(error, _REFUSALS) and self._takes_heartbeats(outcome):
                    repeats_left -= 1
                    if repeats_left <= 0 and not is_last:
                        raise _RefusedBodyError(str(error)) from None
                if failures.count == 0:
                    _log.warning("Job %s cannot be reported yet: %s", self._job_id, error)
                wait_sec = failures.note(error)
            else:
                return True
            self._caller.pause(wait_sec, owed_since=self._owed_since)

    def _ask(self, request: Callable[[WorkerClient], T], **options: Any) -> T:
        return self._caller.until_answered(request, owed_since=self._owed_since, **options)

    def _send(self, outcome: JobOutcome, client: WorkerClient) -> None:
        console = outcome.console_output
        if outcome.error_message is None:
            client.complete(self._runner_id, self._job_id, outcome.output_data, console)
        else:
            client.error(self._runner_id, self._job_id, outcome.error_message, console)

    def _settled(self, outcome: JobOutcome) -> Optional[bool]:
        """Look, after a failure, what the worker has.

        Returns:
            What `is_delivered` is to return; None if the report is still owed.
        """
        try:
            job = self._caller.few_times(
                lambda client: client.find_job(self._job_id), owed_since=self._owed_since
            )
        except WorkerError:
            return None  # the next report finds out
        if job is None:
            return False
        if _has_outcome(job, outcome):
            return True
        if job.claimed_by == self._runner_id and job.is_in_hand:
            return None
        return None if job.status == "pending" and self._may_claim_back() else False

    def _may_claim_back(self) -> bool:
        """Claim a job again that the worker made pending while this runner was out of reach.

        Returns:
            False if this runner's id is not known any more: it cannot claim.
        """
        try:
            self._ask(
                lambda client: client.claim(self._runner_id, self._job_id),
                repeated=NOT_THE_JOBS,
            )
        except ServerError:
            return self._ask(lambda client: client.verify(self._runner_id)) is not None
        except WorkerError as error:  # the next report finds out whose it is
            _log.debug("%s", error)
        return True

    def _takes_heartbeats(self, outcome: JobOutcome) -> bool:
        console = shortened(outcome.console_output, 1_000)
        try:
            self._caller.once(
                lambda client: client.heartbeat(self._runner_id, self._job_id, None, None, console),
                owed_since=self._owed_since,
            )
        except WorkerError:
            return False
        return True


def _ever_smaller(entry: JournalEntry) -> Iterator[JobOutcome]:
    """Yield the forms in which an outcome is reported, each with less than the one before."""
    assert entry.outcome is not None  # noqa: S101 - only entries that have one are reported
    outcome = fitted(entry.outcome)
    yield outcome
    short_console = shortened(outcome.console_output, _SHORT_CONSOLE_BYTES)
    yield replace(outcome, console_output=short_console)
    yield replace(outcome, console_output="")
    if outcome.succeeded:
        size = len(compact_json(outcome.output_data))
        message = f"Job execution failed: the worker refused the result ({size:,} characters)"
        yield JobOutcome(None, message, short_console)


def _has_outcome(job: JobState, outcome: JobOutcome) -> bool:
    if outcome.error_message is not None:
        return job.status == "failed" and job.error == outcome.error_message
    reported = compact_json(outcome.output_data, sort_keys=True)
    return job.status == "completed" and compact_json(job.output_data, sort_keys=True) == reported
