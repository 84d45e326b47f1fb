"""Settle, at the start of a runner, the jobs that an earlier run of it left behind."""

import logging
import time
from functools import partial
from typing import List, Mapping, Optional, Set

from devaria.client.client import WorkerClient
from devaria.common.errors import NotOurs, WorkerError, WorkerGivenUp
from devaria.execution.outcome import JobOutcome
from devaria.jobs.loading import FoundHandler
from devaria.runner.claiming import Claimer
from devaria.runner.job_run import JobRun, JobTools
from devaria.runner.journal import CLAIMING, DONE, RUNNING, JournalEntry

#: The most starts of a job. Only if the runner or the machine dies is it started again.
MAX_RUNS = 2

_log = logging.getLogger(__name__)


class Recovery:
    """Finishes every job of the journal, and every orphan at the worker.

    An orphan is a job that this runner has claimed, as the worker says, but that is not in the
    journal.

    Args:
        tools: What jobs are run with.
        found: The job types that were found.
        claimer: Claims jobs.
    """

    def __init__(
        self, tools: JobTools, found: Mapping[str, FoundHandler], claimer: Claimer
    ) -> None:
        self._tools = tools
        self._found = found
        self._claimer = claimer

    def run(self, runner_id: str) -> None:
        """Settle all that is owed.

        Args:
            runner_id: This runner's id. The jobs of the journal may be claimed under earlier ones.

        Raises:
            AbandonedError: The operator ends the runner first.
            BadSetting: The journal cannot be read.
        """
        entries, set_aside = self._tools.journal.entries()
        for path in set_aside:
            _log.warning("a journal entry was corrupt, or no entry; it is set aside as %s", path)
        orphans = self._orphans(runner_id, {entry.job_id for entry in entries})
        for entry in orphans:
            _log.warning("Job %s is this runner's, but not in its journal", entry.job_id)
        for entry in entries + orphans:
            if self._tools.stop.wants_end:
                return
            try:
                self._settle(entry)
            except WorkerError as error:
                _log.error("Job %s is left to the next start: %s", entry.job_id, error)

    def _settle(self, entry: JournalEntry) -> None:
        if entry.worker_url != self._tools.worker_url:
            _log.warning(
                "Job %s belongs to another worker (%s); it is left alone until a runner "
                "works for that one here",
                entry.job_id,
                entry.worker_url,
            )
        elif entry.state == DONE and entry.outcome is not None:
            _log.info("Job %s ended before; reporting it now", entry.job_id)
            JobRun(self._tools, entry).report(entry.outcome)
        elif not self._is_ours(entry):
            _log.info("Job %s is not this runner's (any more)", entry.job_id)
            self._tools.journal.remove(entry.job_id)
        elif entry.runs >= MAX_RUNS:
            JobRun(self._tools, entry).report(self._given_up(entry))
        else:
            self._run_again(entry)

    def _is_ours(self, entry: JournalEntry) -> bool:
        if entry.state == CLAIMING and self._why_not_here(entry) is None:
            try:
                return self._claimer.claim(entry)
            except WorkerError as error:
                _log.debug("%s", error)

        takes_heartbeat = self._claimer.ask(entry, partial(_takes_heartbeat, entry))
        return takes_heartbeat or self._claimer.is_ours(entry)

    def _run_again(self, entry: JournalEntry) -> None:
        reason = self._why_not_here(entry)
        if reason is not None:
            _log.error("Job %s was left behind, and cannot run here: %s", entry.job_id, reason)
            return
        job = self._claimer.ask(entry, lambda client: client.find_job(entry.job_id))
        if job is None:
            _log.info("Job %s was deleted", entry.job_id)
            self._tools.journal.remove(entry.job_id)
            return
        _log.info("Job %s was left behind; running it", entry.job_id)
        self._tools.prestart.num_expected = 0
        JobRun(self._tools, entry).run(job.input_params)

    def _why_not_here(self, entry: JournalEntry) -> Optional[str]:
        """Return why a job cannot run here, or what to do about it; None if it can run."""
        if entry.job_type not in self._found:
            return f"start the runner with a handler of type {entry.job_type}"
        return "; ".join(self._found[entry.job_type].reasons_against()) or None

    def _given_up(self, entry: JournalEntry) -> JobOutcome:
        message = (
            f"Job execution failed: the job was started {entry.runs} times, "
            "and the runner or its machine died each time"
        )
        return JobOutcome(None, message, self._tools.journal.kept_console(entry.job_id))

    def _orphans(self, runner_id: str, known: Set[str]) -> List[JournalEntry]:
        """List the jobs that this runner has claimed, and that are not in its journal."""
        give_up_at = time.monotonic() + self._tools.settings.timing.orphans_patience_sec
        try:
            jobs = self._tools.caller.until_answered(
                lambda client: client.jobs_of_runner(runner_id), give_up_at=give_up_at
            )
        except (WorkerError, WorkerGivenUp) as error:
            _log.warning("cannot look for jobs that the journal does not have: %s", error)
            return []
        worker_url = self._tools.worker_url
        return [
            # It may have been started before, which counts as a run.
            JournalEntry(job.job_id, job.job_type, worker_url, runner_id, state=RUNNING, runs=1)
            for job in jobs
            if job.is_in_hand and job.job_id not in known
        ]


def _takes_heartbeat(entry: JournalEntry, client: WorkerClient) -> bool:
    try:
        client.heartbeat(entry.runner_id, entry.job_id, None, None, "")
    except NotOurs:
        return False
    return True
