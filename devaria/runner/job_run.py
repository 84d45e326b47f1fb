"""One job in hand, from its claim to the acknowledgement of its outcome."""

import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, Type

from devaria.client.http import JsonObject
from devaria.client.models import fault_of_params
from devaria.common.config import RunnerSettings
from devaria.common.machine import without_crash_paths, without_machine
from devaria.common.redaction import redacted, value_without_keys
from devaria.execution.limits import JobLimits
from devaria.execution.outcome import JobOutcome, keepable
from devaria.execution.preloaded import OutOfDateError
from devaria.execution.process import JobProcess
from devaria.execution.signals import StopRequest, Wakeup
from devaria.jobs import JobHandler
from devaria.jobs.loading import HandlerUnavailableError
from devaria.runner.heartbeat import HeartbeatThread
from devaria.runner.journal import Journal, JournalEntry
from devaria.runner.log import HAS_LINES
from devaria.runner.prestart import Prestart
from devaria.runner.reporting import deliver
from devaria.runner.retrying import AbandonedError, Caller
from devaria.runner.status import StatusFile

_log = logging.getLogger(__name__)


class JobTools:
    """The objects that all jobs of a runner share.

    Args:
        settings: The operator's choices.
        handlers: The handler classes by job type.
        caller: Makes the main thread's requests.
        journal: Records every step of a job on disk.
        status: The status file.
        wakeup: What the main thread waits on.
        stop: What the operator has asked for.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        handlers: Mapping[str, Type[JobHandler]],
        caller: Caller,
        journal: Journal,
        status: StatusFile,
        wakeup: Wakeup,
        stop: StopRequest,
    ) -> None:
        self.worker_url = settings.worker_url
        self.settings = settings
        self.handlers = handlers
        self.limits = {
            job_type: JobLimits.for_handler(
                handler,
                settings.job_timeout_sec,
                settings.max_job_memory_bytes,
                settings.max_job_disk_bytes,
            )
            for job_type, handler in handlers.items()
        }
        self.caller = caller
        self.journal = journal
        self.status = status
        self.wakeup = wakeup
        self.stop = stop
        self.prestart = Prestart(settings, caller, wakeup)
        #: Sends the heartbeats of all jobs. It is replaced if a request hangs in it.
        self.heartbeat_client = caller.heartbeat_client()
        #: Removes from a text what must not leave this machine: secrets, and where code lies.
        self.redacted: Callable[[str], str] = partial(_fit_for_all, secrets=settings.secrets)


class JobRun:
    """One job in hand: its journal entry, its process, its heartbeats.

    Args:
        tools: What it is run with.
        entry: Its journal entry. The job is claimed by this runner.
    """

    def __init__(self, tools: JobTools, entry: JournalEntry) -> None:
        self._tools = tools
        self._entry = entry
        self._process: Optional[JobProcess] = None
        self._kept_console = ""
        self._heartbeat: HeartbeatThread

    def run(self, input_params: Any) -> None:
        """Run the job, and report how it ended.

        Args:
            input_params: What the submitter gave as parameters: any JSON value. A job that cannot
                run with it is reported as failed, or it would stay in the queue for ever.

        Raises:
            AbandonedError: The operator ends the runner while the job waits for a process, or
                while its report is owed. The job stays in the journal.
        """
        self._tools.status.note_job(self._entry.job_id, self._entry.job_type)
        fault = fault_of_params(input_params)
        if fault is None:
            self._process = self._new_process()
        try:
            with self._heartbeats():
                outcome = self._refused(fault) if fault else self._outcome(input_params)
                if self._heartbeat.lost:
                    self._forget()
                else:
                    self._report(outcome)
        finally:
            if self._process is not None:
                self._process.close()  # does nothing, unless something unexpected was raised

    def report(self, outcome: JobOutcome) -> None:
        """Report a job that has ended in an earlier run of the runner.

        Raises:
            AbandonedError: The operator ends the runner while the report is owed.
        """
        # A console that was kept on disk was cleaned in pieces: a secret may lie across two.
        outcome = self._clean(outcome)
        self._kept_console = outcome.console_output
        with self._heartbeats():
            self._report(outcome)

    def _refused(self, fault: str) -> JobOutcome:
        """Return the outcome of a job that is not run."""
        outcome = JobOutcome(None, f"Invalid parameters: {fault}", "")
        _log.info("Job %s failed: %s", self._entry.job_id, outcome.error_message)
        return outcome

    # --- running ---------------------------------------------------------------------------

    def _outcome(self, input_params: JsonObject) -> JobOutcome:
        """Run the job, and try again for as long as its handler cannot be loaded."""
        tools, claimed = self._tools, self._entry
        while True:
            try:
                return self._outcome_of_run(input_params)
            except OutOfDateError:
                tools.journal.keep(claimed)
                self._entry = claimed
            except HandlerUnavailableError as error:
                # The fault is this machine's, and the operator can correct it. It counts neither
                # as a failure of the job nor as a run.
                job_id = claimed.job_id
                _log.error("Job %s: cannot load its handler, trying again: %s", job_id, error)
                tools.journal.keep(claimed)
                self._entry = claimed
                tools.prestart.drop()
                tools.caller.pause(tools.settings.timing.start_retry_sec)
            self._process = self._new_process()

    def _new_process(self) -> JobProcess:
        return self._tools.prestart.take(self._entry.runner_id, self._entry.job_type)

    def _outcome_of_run(self, input_params: JsonObject) -> JobOutcome:
        tools, process = self._tools, self._process
        assert process is not None  # noqa: S101 - `run` took one
        entry = self._entry = tools.journal.note_run(self._entry)
        process.console.keep_in(tools.journal.console_path(entry.job_id), tools.redacted)
        process.hand_over(entry.job_type, input_params, self._on_progress)
        tools.prestart.start_expected(entry.runner_id)
        return self._clean(self._wait(process))

    def _wait(self, process: JobProcess) -> JobOutcome:
        entry = self._entry
        _log.info("Job %s (%s) started", entry.job_id, entry.job_type)
        started = time.monotonic()
        outcome = process.wait(self._tools.limits[entry.job_type], self._why_stop)
        elapsed = time.monotonic() - started
        if outcome.error_message is None:
            _log.info("Job %s succeeded after %.1f s", entry.job_id, elapsed)
        elif not self._heartbeat.lost:
            reason = outcome.error_message.splitlines()[0][:300]
            _log.info("Job %s failed after %.1f s: %s", entry.job_id, elapsed, reason)
            if process.traceback is not None:
                _log.info("Job %s: %s", entry.job_id, process.traceback, extra=HAS_LINES)
        return outcome

    def _on_progress(
        self, current: Optional[float], total: Optional[float], console: Optional[str]
    ) -> None:
        self._heartbeat.update(current, total, console)
        self._tools.status.note_progress(current, total)

    def _why_stop(self) -> Optional[str]:
        stop = self._tools.stop
        if self._heartbeat.lost:
            return "it is not this runner's any more"
        if stop.wants_end:
            stop.say_once()
        if stop.wants_job_end:
            return f"the operator of the runner stopped it ({stop.signal_name})"
        return None

    # --- reporting -------------------------------------------------------------------------

    def _report(self, outcome: JobOutcome) -> None:
        """Report the outcome until the worker has acknowledged it."""
        tools, job_id = self._tools, self._entry.job_id
        outcome = keepable(outcome)
        self._entry = tools.journal.note_outcome(self._entry, outcome)
        tools.status.update(owes_report=True)
        try:
            is_acknowledged = deliver(tools.caller, self._entry, tools.settings.timing)
        except AbandonedError:
            _log.warning("Job %s: its outcome is kept, and reported at the next start", job_id)
            raise
        if not is_acknowledged:
            self._forget()
            return
        tools.status.note_end(outcome.succeeded)
        state = "completed" if outcome.succeeded else "failed"
        _log.info("Job %s reported as %s", job_id, state)
        tools.journal.remove(job_id)

    def _forget(self) -> None:
        self._tools.status.note_end(None)
        _log.warning(
            "Job %s is not this runner's any more (deleted, or ended by the worker); "
            "nothing is reported",
            self._entry.job_id,
        )
        self._tools.journal.remove(self._entry.job_id)

    def _clean(self, outcome: JobOutcome) -> JobOutcome:
        """Remove what the public must not see: secrets, and names of this machine."""
        message = outcome.error_message
        return replace(
            outcome,
            output_data=value_without_keys(outcome.output_data, self._tools.settings.secrets),
            error_message=message and without_machine(self._tools.redacted(message)),
            console_output=self._tools.redacted(outcome.console_output),
        )

    # --- heartbeats ------------------------------------------------------------------------

    @contextlib.contextmanager
    def _heartbeats(self) -> Iterator[None]:
        """Send heartbeats for the length of a `with` block."""
        tools = self._tools
        self._heartbeat = HeartbeatThread(
            tools.heartbeat_client,
            self._entry,
            self._console,
            on_lost=tools.wakeup.notify,
            clean=tools.redacted,
            status=tools.status,
        )
        self._heartbeat.start()
        try:
            yield
        finally:
            if not self._heartbeat.stop():
                tools.heartbeat_client = tools.caller.heartbeat_client()

    def _console(self) -> str:
        """Return the console so far: that of the process, or of an earlier run of the runner."""
        return self._kept_console if self._process is None else self._process.console.text()


def _fit_for_all(text: str, secrets: Sequence[str]) -> str:
    return without_crash_paths(redacted(text, secrets))
