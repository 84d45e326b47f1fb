"""Delivers a job's outcome to the worker, for as long as it takes."""

import logging
from dataclasses import replace
from typing import Iterator, Tuple, Type

from devaria.client.client import WorkerClient
from devaria.client.models import JobState
from devaria.common.errors import (
    ClaimLost,
    NotFound,
    NotOurs,
    Refused,
    ServerError,
    StrangeAnswer,
    TooLarge,
    WorkerError,
)
from devaria.common.js_json import compact_json
from devaria.common.text import shortened
from devaria.execution.outcome import JobOutcome, fitted
from devaria.runner.heartbeat import still_ours
from devaria.runner.journal import JournalEntry
from devaria.runner.retrying import Caller

#: So many answers of 500 to one and the same report, while the worker takes the job's heartbeats,
#: mean that it cannot take this body. Before what is true is given up, it must be many: with the
#: back-off between them about 40 minutes.
_REPEATS_FOR_LESS_CONSOLE = 5
_REPEATS_FOR_LOSS = 25

_SHORT_CONSOLE_BYTES = 100_000

_log = logging.getLogger(__name__)


class Reporter:
    """Brings the worker to know how a job ended.

    Args:
        caller: Makes the requests.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def deliver(self, entry: JournalEntry) -> bool:
        """Report an outcome until the worker acknowledges it.

        Transient failures are tried again without end. A report that the worker refuses for what
        is in it is sent again with less: a short console, then none, and at last, where a result
        is refused, an error that says so.

        Args:
            entry: A job with its outcome.

        Returns:
            Whether the worker has this outcome; False where the job is not this runner's any more.

        Raises:
            AbandonedError: The operator ends the runner; the outcome is still owed.
        """
        for outcome in _ever_smaller(entry):
            try:
                self._send(entry, outcome, (NotOurs, TooLarge, _RefusedBodyError))
            except NotOurs:
                return self._is_known(entry, outcome)
            except (TooLarge, _RefusedBodyError) as error:
                _log.warning("job %s: the worker refuses this report: %s", entry.job_id, error)
            else:
                return True
        # Nothing in this one can be refused, so what refuses it is not the worker as it should be.
        last = JobOutcome(None, "Job execution failed: the worker refused every report of it", "")
        try:
            self._send(entry, last, (NotOurs,))
        except NotOurs:
            return self._is_known(entry, last)
        return True

    def _send(
        self, entry: JournalEntry, outcome: JobOutcome, final: Tuple[Type[WorkerError], ...]
    ) -> None:
        """Send one form of the report until it is answered, or refused by repeated 500s."""
        is_last_true_form = not outcome.console_output
        repeats_left = _REPEATS_FOR_LOSS if is_last_true_form else _REPEATS_FOR_LESS_CONSOLE

        def send(client: WorkerClient) -> None:
            nonlocal repeats_left
            try:
                _report(client, entry.job_id, outcome)
            except NotOurs as error:
                if still_ours(client, entry.job_id):
                    raise StrangeAnswer(str(error)) from error
                if not _is_claimed_back(client, entry.job_id):
                    raise
                _report(client, entry.job_id, outcome)
            except (Refused, ServerError) as error:
                if not _takes_heartbeats(client, entry.job_id, outcome):
                    raise
                repeats_left -= 1
                if repeats_left > 0:
                    raise StrangeAnswer(str(error)) from error
                raise _RefusedBodyError(str(error)) from None

        self._caller.until_answered(send, patient=True, final=final)

    def _is_known(self, entry: JournalEntry, outcome: JobOutcome) -> bool:
        """Look whether the report arrived though its answer did not."""
        try:
            job = self._caller.until_answered(
                lambda client: client.job_detail(entry.job_id), patient=True, final=NotFound
            )
        except NotFound:
            return False
        return _tells(job, outcome)


class _RefusedBodyError(Refused):
    """The worker fails on this body again and again, and on nothing else."""


def _report(client: WorkerClient, job_id: str, outcome: JobOutcome) -> None:
    if outcome.error_message is None:
        client.complete(job_id, outcome.output_data, outcome.console_output)
    else:
        client.error(job_id, outcome.error_message, outcome.console_output)


def _is_claimed_back(client: WorkerClient, job_id: str) -> bool:
    """Claim a job again that its worker gave up while this runner was out of reach."""
    try:
        if client.job_detail(job_id).status != "pending":
            return False
        client.claim(job_id)
    except (NotFound, ClaimLost):
        return False
    except ServerError:
        if client.verify() is None:  # an id that is not known cannot claim
            return False
        raise
    return True


def _takes_heartbeats(client: WorkerClient, job_id: str, outcome: JobOutcome) -> bool:
    try:
        client.heartbeat(job_id, None, None, shortened(outcome.console_output, 1_000))
    except WorkerError:
        return False
    return True


def _ever_smaller(entry: JournalEntry) -> Iterator[JobOutcome]:
    """Yield the forms in which an outcome is reported, each with less than the one before."""
    assert entry.outcome is not None  # noqa: S101 - only entries that have one are reported
    outcome = fitted(entry.outcome)
    short_console = shortened(outcome.console_output, _SHORT_CONSOLE_BYTES)
    yield outcome
    yield replace(outcome, console_output=short_console)
    yield replace(outcome, console_output="")
    if outcome.succeeded:
        size = len(compact_json(outcome.output_data))
        message = f"Job execution failed: the worker refused the result ({size:,} characters)"
        yield JobOutcome(None, message, short_console)


def _tells(job: JobState, outcome: JobOutcome) -> bool:
    if outcome.error_message is not None:
        return job.status == "failed" and job.error == outcome.error_message
    mine = compact_json(outcome.output_data, sort_keys=True)
    return job.status == "completed" and compact_json(job.output_data, sort_keys=True) == mine
