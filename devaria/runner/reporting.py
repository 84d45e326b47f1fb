"""Report a job's outcome to the worker, for as long as it takes."""

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
from devaria.common.timing import Timing
from devaria.execution.outcome import JobOutcome, fitted
from devaria.runner.journal import JournalEntry
from devaria.runner.retrying import Caller

_SHORT_CONSOLE_BYTES = 100_000

_log = logging.getLogger(__name__)


def deliver(caller: Caller, entry: JournalEntry, timing: Timing) -> bool:
    """Report an outcome until the worker acknowledges it.

    After a transient failure the report is sent again, without end. A report that the worker
    refuses for its content is sent again with less: a short console, then none. If a result is
    still refused, an error that says so is sent in its place.

    Args:
        caller: Makes the requests.
        entry: A job with its outcome.
        timing: Holds how often a refused report is repeated before it is sent with less.

    Returns:
        Whether the worker has this outcome; False if the job is not this runner's any more.

    Raises:
        AbandonedError: The operator ends the runner; the outcome is still owed.
    """
    for outcome in _ever_smaller(entry):
        try:
            _send(caller, entry, outcome, timing, (NotOurs, TooLarge, _RefusedBodyError))
        except NotOurs:
            return _is_known(caller, entry, outcome)
        except (TooLarge, _RefusedBodyError) as error:
            _log.warning("job %s: the worker refuses this report: %s", entry.job_id, error)
        else:
            return True
    # This one holds nothing that a worker could refuse, so it is repeated without end.
    last = JobOutcome(None, "Job execution failed: the worker refused every report of it", "")
    try:
        _send(caller, entry, last, timing, (NotOurs,))
    except NotOurs:
        return _is_known(caller, entry, last)
    return True


class _RefusedBodyError(Refused):
    """The worker answered this body with errors again and again, but accepts heartbeats."""


def _send(
    caller: Caller,
    entry: JournalEntry,
    outcome: JobOutcome,
    timing: Timing,
    final: Tuple[Type[WorkerError], ...],
) -> None:
    """Send one form of the report until it is answered, or refused by repeated 500s."""
    has_no_console = not outcome.console_output
    repeats_left = timing.repeats_for_loss if has_no_console else timing.repeats_for_less_console

    def send(client: WorkerClient) -> None:
        nonlocal repeats_left
        try:
            _report(client, entry, outcome)
        except NotOurs as error:
            if client.is_claimed_by(entry.runner_id, entry.job_id):
                raise StrangeAnswer(str(error)) from error
            if not _is_claimed_back(client, entry):
                raise
            _report(client, entry, outcome)
        except (Refused, ServerError) as error:
            if not _takes_heartbeats(client, entry, outcome):
                raise
            repeats_left -= 1
            if repeats_left > 0:
                raise StrangeAnswer(str(error)) from error
            raise _RefusedBodyError(str(error)) from None

    caller.until_answered(send, patient=True, final=final)


def _report(client: WorkerClient, entry: JournalEntry, outcome: JobOutcome) -> None:
    runner_id, job_id, console = entry.runner_id, entry.job_id, outcome.console_output
    if outcome.error_message is None:
        client.complete(runner_id, job_id, outcome.output_data, console)
    else:
        client.error(runner_id, job_id, outcome.error_message, console)


def _is_claimed_back(client: WorkerClient, entry: JournalEntry) -> bool:
    """Claim a job again that the worker made pending while this runner was out of reach."""
    try:
        if client.job_detail(entry.job_id).status != "pending":
            return False
        client.claim(entry.runner_id, entry.job_id)
    except (NotFound, ClaimLost):
        return False
    except ServerError:
        if client.verify(entry.runner_id) is None:  # an id that is not known cannot claim
            return False
        raise
    return True


def _takes_heartbeats(client: WorkerClient, entry: JournalEntry, outcome: JobOutcome) -> bool:
    console = shortened(outcome.console_output, 1_000)
    try:
        client.heartbeat(entry.runner_id, entry.job_id, None, None, console)
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


def _is_known(caller: Caller, entry: JournalEntry, outcome: JobOutcome) -> bool:
    """Return whether the report arrived although its answer did not."""
    try:
        job = caller.until_answered(
            lambda client: client.job_detail(entry.job_id), patient=True, final=NotFound
        )
    except NotFound:
        return False
    return _has_outcome(job, outcome)


def _has_outcome(job: JobState, outcome: JobOutcome) -> bool:
    if outcome.error_message is not None:
        return job.status == "failed" and job.error == outcome.error_message
    reported = compact_json(outcome.output_data, sort_keys=True)
    return job.status == "completed" and compact_json(job.output_data, sort_keys=True) == reported
