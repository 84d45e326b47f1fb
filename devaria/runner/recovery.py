"""What a runner does at its start about jobs that an earlier run of it left behind."""

import itertools
import logging
import time
from typing import List, Mapping, Optional, Set

from devaria.client.client import WorkerClient
from devaria.common.errors import (
    ClaimLost,
    NotFound,
    NotOurs,
    ServerError,
    WorkerError,
    WorkerGivenUp,
)
from devaria.execution.outcome import JobOutcome
from devaria.execution.signals import StopRequest
from devaria.jobs.loading import FoundHandler
from devaria.runner.dispatch import Dispatcher
from devaria.runner.heartbeat import still_ours
from devaria.runner.journal import CLAIMING, DONE, RUNNING, Journal, JournalEntry
from devaria.runner.retrying import Caller

#: How often a job is started in all, when the runner or the machine dies under it.
MAX_RUNS = 2

#: So many answers of 5xx to the claim of one job, and it is left to others.
_MAX_FAILED_CLAIMS = 3

#: How long to ask for jobs that the journal does not have, in seconds: it is a courtesy.
_ORPHANS_PATIENCE_SEC = 60.0

_log = logging.getLogger(__name__)


class Recovery:
    """Brings every job of the journal, and every orphan at the worker, to its outcome.

    Args:
        worker_url: The worker that this runner works for.
        found: The job types that were found.
        caller: Makes the requests; its client carries this runner's id.
        journal: What the earlier run wrote down.
        dispatcher: Runs and reports jobs.
        stop: What the operator has asked for.
    """

    def __init__(
        self,
        worker_url: str,
        found: Mapping[str, FoundHandler],
        caller: Caller,
        journal: Journal,
        dispatcher: Dispatcher,
        stop: StopRequest,
    ) -> None:
        self._worker_url = worker_url
        self._found = found
        self._caller = caller
        self._journal = journal
        self._dispatcher = dispatcher
        self._stop = stop
        #: Jobs of which a claim may still be on its way.
        self._unsure: Set[str] = set()

    def run(self) -> None:
        """Settle all that is owed.

        Raises:
            AbandonedError: The operator ends the runner first.
            BadSetting: The journal cannot be read.
        """
        entries, set_aside = self._journal.entries()
        for path in set_aside:
            _log.warning("a journal entry was corrupt; it is set aside as %s", path)
        known = {entry.job_id for entry in entries}
        self._unsure.update(known)
        orphans = self._orphans(known)
        for entry in orphans:
            _log.warning("Job %s is this runner's, but not in its journal", entry.job_id)
        for entry in entries + orphans:
            if self._stop.wants_end:
                return
            with self._caller.acting_as(entry.runner_id):
                self._settle(entry)

    def claim(self, entry: JournalEntry) -> bool:
        """Claim a job, or find that an earlier claim of it has acted.

        A claim without an answer is sent again. It may still be on its way, and act after any
        look at the job; once a later one is answered with 200 or 409, it no longer can.

        Args:
            entry: The job, and the runner id to claim it under.

        Returns:
            Whether the job is this runner's.

        Raises:
            AbandonedError: The operator ends the runner first.
            NotFound: The worker does not know the runner id.
            WorkerError: It refuses the claim.
        """
        failures = itertools.count(1)

        def claim(client: WorkerClient) -> bool:
            may_be_ours = entry.job_id in self._unsure
            self._unsure.add(entry.job_id)
            is_ours = True
            try:
                client.claim(entry.job_id)
            except ClaimLost:  # also the answer where it is this runner's already
                is_ours = may_be_ours and still_ours(client, entry.job_id)
            except ServerError as error:
                if client.verify() is None:  # an unknown id is a 500 to a claim
                    raise NotFound(f"the worker does not know {client.runner_id}") from error
                if next(failures) < _MAX_FAILED_CLAIMS:
                    raise
                return still_ours(client, entry.job_id)
            self._unsure.discard(entry.job_id)
            return is_ours

        return self._caller.until_answered(claim)

    def _is_ours(self, entry: JournalEntry) -> bool:
        if entry.state == CLAIMING and self._why_not_here(entry) is None:
            try:
                return self.claim(entry)
            except WorkerError as error:
                _log.debug("%s", error)

        def ask(client: WorkerClient) -> bool:
            try:
                client.heartbeat(entry.job_id, None, None, "")
            except NotOurs:
                return still_ours(client, entry.job_id)
            return True

        return self._caller.until_answered(ask, final=())

    def _settle(self, entry: JournalEntry) -> None:
        if entry.worker_url != self._worker_url:
            _log.warning(
                "Job %s belongs to another worker (%s); it is left alone until a runner "
                "works for that one here",
                entry.job_id,
                entry.worker_url,
            )
        elif entry.state == DONE:
            _log.info("Job %s ended before; reporting it now", entry.job_id)
            self._dispatcher.report(entry)
        elif not self._is_ours(entry):
            _log.info("Job %s is not this runner's (any more)", entry.job_id)
            self._journal.remove(entry.job_id)
        elif entry.runs >= MAX_RUNS:
            self._dispatcher.report(entry.ended(self._given_up(entry)))
        else:
            self._run_again(entry)

    def _run_again(self, entry: JournalEntry) -> None:
        reason = self._why_not_here(entry)
        if reason is not None:
            _log.error("Job %s was left behind, and cannot run here: %s", entry.job_id, reason)
            return
        try:
            job = self._caller.until_answered(
                lambda client: client.job_detail(entry.job_id), final=NotFound
            )
        except NotFound:
            _log.info("Job %s was deleted", entry.job_id)
            self._journal.remove(entry.job_id)
            return
        _log.info("Job %s was left behind; running it", entry.job_id)
        self._dispatcher.run(entry, job.input_params or {})

    def _why_not_here(self, entry: JournalEntry) -> Optional[str]:
        """Say what the runner has to be started with for a job; never fail a job for want of it."""
        if entry.job_type not in self._found:
            return f"start the runner with a handler of type {entry.job_type}"
        return "; ".join(self._found[entry.job_type].reasons_against()) or None

    def _given_up(self, entry: JournalEntry) -> JobOutcome:
        message = (
            f"Job execution failed: the job was started {entry.runs} times, "
            "and the runner or its machine died each time"
        )
        return JobOutcome(None, message, self._journal.kept_console(entry.job_id))

    def _orphans(self, known: Set[str]) -> List[JournalEntry]:
        """Find jobs that this runner has at the worker, and not in its journal."""
        runner_id = self._caller.client.runner_id or ""
        try:
            jobs = self._caller.until_answered(
                lambda client: client.jobs_of_runner(runner_id),
                give_up_at=time.monotonic() + _ORPHANS_PATIENCE_SEC,
            )
        except (WorkerError, WorkerGivenUp) as error:
            _log.warning("cannot look for jobs that the journal does not have: %s", error)
            return []
        return [
            # It may have been running: that counts as a run.
            JournalEntry(
                job.job_id, job.job_type, self._worker_url, runner_id, state=RUNNING, runs=1
            )
            for job in jobs
            if job.status in ("claimed", "in_progress") and job.job_id not in known
        ]
