"""One job from its claim to the acknowledgement of its outcome, with the journal kept in step."""

import contextlib
import logging
import time
from dataclasses import replace
from typing import Callable, Mapping, Optional, Type

from devaria.client.client import WorkerClient
from devaria.client.http import JsonObject
from devaria.common.config import RunnerSettings
from devaria.common.text import redacted
from devaria.execution.limits import JobLimits
from devaria.execution.outcome import JobOutcome
from devaria.execution.process import JobProcess, ProgressCallback
from devaria.execution.signals import StopRequest, Wakeup
from devaria.jobs import JobHandler
from devaria.jobs.loading import HandlerUnavailableError
from devaria.runner.heartbeat import Heartbeat
from devaria.runner.journal import Journal, JournalEntry
from devaria.runner.prestart import START_RETRY_SEC, NextProcess
from devaria.runner.reporting import Reporter
from devaria.runner.retrying import AbandonedError, Caller
from devaria.runner.status import StatusFile

_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs jobs that are claimed, and reports them.

    Args:
        settings: The operator's choices.
        handlers: The handler classes by job type.
        caller: Makes the requests; its client carries the runner id that the job is claimed under.
        journal: Where every step is written down.
        next_process: Starts the jobs' processes.
        status: Where monitoring looks.
        wakeup: What the main thread waits on.
        stop: What the operator has asked for.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        handlers: Mapping[str, Type[JobHandler]],
        caller: Caller,
        journal: Journal,
        next_process: NextProcess,
        status: StatusFile,
        wakeup: Wakeup,
        stop: StopRequest,
    ) -> None:
        self.jobs_done = 0
        self._settings = settings
        self._handlers = handlers
        self._caller = caller
        self._journal = journal
        self._next_process = next_process
        self._status = status
        self._wakeup = wakeup
        self._stop = stop
        self._reporter = Reporter(caller)
        self._heartbeat_client: Optional[WorkerClient] = None

    def run(
        self, entry: JournalEntry, input_params: JsonObject, *, expects_more: bool = False
    ) -> None:
        """Run a job that is claimed by this runner, and report how it ended.

        Args:
            entry: The job; it is put into the journal as running.
            input_params: Its parameters.
            expects_more: Start the process for the next job while this one runs.

        Raises:
            AbandonedError: The operator ends the runner while the job waits for a process, or
                while its report is owed; it stays in the journal.
        """
        self._status.note_job(entry.job_id, entry.job_type)
        process = self._next_process.take()
        # The console is that of the process in hand, which may be another one in a moment.
        heartbeat = self._start_heartbeat(entry, lambda: process.console.text())
        try:
            while True:
                try:
                    outcome = self._run_once(entry, input_params, process, heartbeat, expects_more)
                    break
                except HandlerUnavailableError as error:
                    self._wait_for_handler(entry, error)
                    process = self._next_process.take()
            if heartbeat.lost:
                self._forget_lost(entry)
            else:
                self._report(self._keep(entry.ended(outcome)))
        finally:
            self._end_heartbeat(heartbeat)

    def _run_once(
        self,
        entry: JournalEntry,
        input_params: JsonObject,
        process: JobProcess,
        heartbeat: Heartbeat,
        expects_more: bool,
    ) -> JobOutcome:
        self._keep(entry.started())
        process.console.keep_in(self._journal.console_path(entry.job_id), self._redacted)
        process.hand_over(entry.job_type, input_params, self._on_progress(heartbeat))
        try:
            if expects_more:  # beside this one, and only after it has its job
                with contextlib.suppress(OSError):  # it will be said when that job needs it
                    self._next_process.start()
            return self._clean(self._wait(entry, process, heartbeat))
        finally:
            process.console.close()

    def _wait_for_handler(self, entry: JournalEntry, error: HandlerUnavailableError) -> None:
        # This machine's fault, which somebody is about to mend: no failure of the job, and no run.
        _log.error("Job %s: cannot load its handler, trying on: %s", entry.job_id, error)
        self._keep(entry)
        self._next_process.drop()
        self._caller.pause(START_RETRY_SEC)

    def report(self, entry: JournalEntry) -> None:
        """Report a job that has ended already.

        Args:
            entry: The job with its outcome.

        Raises:
            AbandonedError: The operator ends the runner while the report is owed.
        """
        assert entry.outcome is not None  # noqa: S101 - only entries that have one are reported
        # A console that an earlier run of the runner left is as the job printed it.
        outcome = self._clean(entry.outcome)
        heartbeat = self._start_heartbeat(entry, lambda: outcome.console_output)
        try:
            self._report(self._keep(entry.ended(outcome)))
        finally:
            self._end_heartbeat(heartbeat)

    # --- the steps -------------------------------------------------------------------------

    def _wait(self, entry: JournalEntry, process: JobProcess, heartbeat: Heartbeat) -> JobOutcome:
        _log.info("Job %s (%s) started", entry.job_id, entry.job_type)
        started = time.monotonic()
        outcome = process.wait(self._limits(entry.job_type), self._why_stop(heartbeat))
        elapsed = time.monotonic() - started
        if outcome.error_message is None:
            _log.info("Job %s succeeded after %.1f s", entry.job_id, elapsed)
        elif not heartbeat.lost:
            reason = outcome.error_message.splitlines()[0][:300]
            _log.info("Job %s failed after %.1f s: %s", entry.job_id, elapsed, reason)
        return outcome

    def _limits(self, job_type: str) -> JobLimits:
        of_its_own = self._handlers[job_type].timeout_sec
        timeout_sec = self._settings.job_timeout_sec if of_its_own is None else of_its_own
        return JobLimits(timeout_sec, self._settings.max_job_memory_bytes)

    def _on_progress(self, heartbeat: Heartbeat) -> ProgressCallback:
        def tell(current: Optional[float], total: Optional[float], console: Optional[str]) -> None:
            heartbeat.update(current, total, console)
            self._status.note_progress(current, total)

        return tell

    def _why_stop(self, heartbeat: Heartbeat) -> Callable[[], Optional[str]]:
        def why() -> Optional[str]:
            if heartbeat.lost:
                return "it is not this runner's any more"
            self._stop.say_once()
            if self._stop.wants_job_end:
                return f"the operator of the runner stopped it ({self._stop.signal_name})"
            return None

        return why

    def _clean(self, outcome: JobOutcome) -> JobOutcome:
        """Cut secrets out of what people will read; the result itself stays as it is."""
        message = outcome.error_message
        return replace(
            outcome,
            error_message=None if message is None else self._redacted(message),
            console_output=self._redacted(outcome.console_output),
        )

    def _redacted(self, text: str) -> str:
        return redacted(text, self._settings.secrets)

    def _keep(self, entry: JournalEntry) -> JournalEntry:
        """Write the entry down; if that fails, the job goes on from memory."""
        try:
            self._journal.write(entry)
        except OSError as error:
            _log.error("cannot write job %s into the journal: %s", entry.job_id, error)
        return entry

    def _report(self, entry: JournalEntry) -> None:
        self._status.update(owes_report=True)
        try:
            is_acknowledged = self._reporter.deliver(entry)
        except AbandonedError:
            _log.warning(
                "Job %s: its outcome is kept, and reported at the next start", entry.job_id
            )
            raise
        if is_acknowledged:
            self.jobs_done += 1
            self._status.note_end(_succeeded(entry))
            _log.info(
                "Job %s reported as %s",
                entry.job_id,
                "completed" if _succeeded(entry) else "failed",
            )
            self._journal.remove(entry.job_id)
        else:
            self._forget_lost(entry)

    def _forget_lost(self, entry: JournalEntry) -> None:
        self._status.note_end(None)
        _log.warning(
            "Job %s is not this runner's any more (deleted, or ended by the worker); "
            "nothing is reported",
            entry.job_id,
        )
        self._journal.remove(entry.job_id)

    # --- the heartbeat ---------------------------------------------------------------------

    def _start_heartbeat(self, entry: JournalEntry, console: Callable[[], str]) -> Heartbeat:
        # One connection for all jobs' heartbeats, unless one still hangs in it.
        client = self._heartbeat_client or self._caller.client.another()
        client.runner_id = entry.runner_id
        self._heartbeat_client = client
        heartbeat = Heartbeat(
            client,
            entry.job_id,
            console,
            on_lost=self._wakeup.notify,
            clean=self._redacted,
            on_answer=self._status.note_contact,
        )
        heartbeat.start()
        return heartbeat

    def _end_heartbeat(self, heartbeat: Heartbeat) -> None:
        if not heartbeat.stop():
            self._heartbeat_client = None


def _succeeded(entry: JournalEntry) -> bool:
    assert entry.outcome is not None  # noqa: S101 - only entries that have one are reported
    return entry.outcome.succeeded
