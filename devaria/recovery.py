"""What a runner does at its start about jobs that an earlier run of it left behind."""

import logging
from typing import List, Mapping, Set, Type

from devaria.caller import Caller
from devaria.client import WorkerClient
from devaria.dispatch import Dispatcher
from devaria.errors import NotOurs
from devaria.heartbeat import still_ours
from devaria.jobs import JobHandler
from devaria.journal import DONE, RUNNING, Journal, JournalEntry
from devaria.outcome import JobOutcome
from devaria.stop import StopRequest

#: How often a job is started in all, when the runner or the machine dies under it.
MAX_RUNS = 2

_log = logging.getLogger(__name__)


class Recovery:
    """Brings every job of the journal, and every orphan at the worker, to its outcome.

    Args:
        worker_url: The worker that this runner works for.
        handlers: The handler classes by job type.
        caller: Makes the requests; its client carries this runner's id.
        journal: What the earlier run wrote down.
        dispatcher: Runs and reports jobs.
        stop: What the operator has asked for.
    """

    def __init__(
        self,
        worker_url: str,
        handlers: Mapping[str, Type[JobHandler]],
        caller: Caller,
        journal: Journal,
        dispatcher: Dispatcher,
        stop: StopRequest,
    ) -> None:
        self._worker_url = worker_url
        self._handlers = handlers
        self._caller = caller
        self._journal = journal
        self._dispatcher = dispatcher
        self._stop = stop

    def run(self) -> None:
        """Settle all that is owed.

        Raises:
            AbandonedError: The operator ends the runner first.
            OSError: A job process cannot be started.
        """
        entries, set_aside = self._journal.entries()
        for path in set_aside:
            _log.warning("a journal entry was corrupt; it is set aside as %s", path)
        known = {entry.job_id for entry in entries}
        orphans = self._orphans(known)
        for entry in orphans:
            _log.warning("Job %s is this runner's, but not in its journal", entry.job_id)
        for entry in entries + orphans:
            if self._stop.wants_end:
                return
            with self._caller.acting_as(entry.runner_id):
                self._settle(entry)

    def is_ours(self, entry: JournalEntry) -> bool:
        """Ask the worker whether a job is claimed by this runner.

        Args:
            entry: The job, and the runner id in question.

        Returns:
            Whether it is.

        Raises:
            AbandonedError: The operator ends the runner first.
        """

        def ask(client: WorkerClient) -> bool:
            try:
                client.heartbeat(entry.job_id, None, None, "")
            except NotOurs:
                return still_ours(client, entry.job_id)
            return True

        return self._caller.until_answered(ask)

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
        elif not self.is_ours(entry):
            _log.info("Job %s is not this runner's (any more)", entry.job_id)
            self._journal.remove(entry.job_id)
        elif entry.runs >= MAX_RUNS:
            self._dispatcher.report(entry.ended(self._given_up(entry)))
        else:
            self._run_again(entry)

    def _run_again(self, entry: JournalEntry) -> None:
        if entry.job_type not in self._handlers:
            _log.error(
                "Job %s waits for a handler of type %s; start the runner with it",
                entry.job_id,
                entry.job_type,
            )
            return
        job = self._caller.until_answered(lambda client: client.job_detail(entry.job_id))
        _log.info("Job %s was left behind; running it", entry.job_id)
        self._dispatcher.run(entry, job.input_params or {})

    def _given_up(self, entry: JournalEntry) -> JobOutcome:
        message = (
            f"Job execution failed: the job was started {entry.runs} times, "
            "and the runner or its machine died each time"
        )
        return JobOutcome(None, message, self._journal.kept_console(entry.job_id))

    def _orphans(self, known: Set[str]) -> List[JournalEntry]:
        """Find jobs that this runner has at the worker, and not in its journal."""
        runner_id = self._caller.client.runner_id or ""
        jobs = self._caller.until_answered(lambda client: client.jobs_of_runner(runner_id))
        return [
            # It may have been running: that counts as a run.
            JournalEntry(
                job.job_id, job.job_type, self._worker_url, runner_id, state=RUNNING, runs=1
            )
            for job in jobs
            if job.status in ("claimed", "in_progress") and job.job_id not in known
        ]
