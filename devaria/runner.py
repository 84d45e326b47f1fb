"""The runner: identify, settle what is owed, then poll, claim, dispatch, report, and sleep.

The main thread does all of it, one job at a time; beside it are the heartbeat and the two readers
of the job's pipes. It waits only on the wake-up, so that a signal, the end of a job or the loss of
one is acted on at once.
"""

import logging
import random
from typing import List, Mapping, Type

from devaria import __version__
from devaria.caller import AbandonedError, Caller
from devaria.client import Job, WorkerClient
from devaria.config import RunnerSettings
from devaria.dispatch import Dispatcher
from devaria.errors import EXIT_OK, BadSetting, WorkerError
from devaria.jobs import JobHandler
from devaria.journal import Journal, JournalEntry
from devaria.recovery import Recovery
from devaria.registration import identify, missing_requirements, register
from devaria.stop import StopRequest
from devaria.wakeup import Wakeup

#: Each wait between two polls is longer or shorter by up to this part, so that runners that were
#: started together do not poll together.
_POLL_JITTER = 0.1

#: So many lists in a row of which every job went to another runner count as nothing to be had.
_MAX_FRUITLESS_LISTS = 3

_log = logging.getLogger(__name__)


class JobRunner:
    """A runner, from its start to its end.

    Args:
        settings: The operator's choices.
        client: A client with the runner key.
        handlers: The handler classes by job type, those that cannot run here included.
        wakeup: What the main thread waits on.
        stop: What the operator has asked for.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        client: WorkerClient,
        handlers: Mapping[str, Type[JobHandler]],
        wakeup: Wakeup,
        stop: StopRequest,
    ) -> None:
        self._settings = settings
        self._handlers = handlers
        self._stop = stop
        self._caller = Caller(client, wakeup, stop)
        self._journal = Journal(settings.directory)
        self._dispatcher = Dispatcher(settings, handlers, self._caller, self._journal, wakeup, stop)
        self._recovery = Recovery(
            settings.worker_url, handlers, self._caller, self._journal, self._dispatcher, stop
        )
        self._job_types: List[str] = []
        self._cannot_take = False

    def run(self) -> int:
        """Work until the operator ends it, or nothing is left to do.

        Returns:
            The exit code: 0, or 128 + the signal's number where a job was ended by it.

        Raises:
            OperatorError: Something is only the operator's to mend.
            WorkerError: The worker refuses this runner.
        """
        _log.info("devaria %s, worker %s", __version__, self._settings.worker_url)
        self._job_types = self._ready_types()
        try:
            identify(self._caller, self._settings.directory, self._job_types)
            self._recovery.run()
            self._work()
        except AbandonedError:
            pass
        finally:
            self._dispatcher.drop_spare()
            self._caller.client.close()
        jobs_done = self._dispatcher.jobs_done
        _log.info("Ended after %d job%s", jobs_done, "" if jobs_done == 1 else "s")
        return self._stop.exit_code if self._stop.wants_job_end else EXIT_OK

    def _ready_types(self) -> List[str]:
        """Pick the job types to offer: those wanted that can run here."""
        wanted = self._settings.job_types or tuple(self._handlers)
        unknown = [job_type for job_type in wanted if job_type not in self._handlers]
        if unknown:
            raise BadSetting(
                f"unknown job type {unknown[0]!r}; there are: {', '.join(self._handlers)}"
            )
        ready = []
        for job_type in wanted:
            reasons = missing_requirements(self._handlers[job_type])
            if reasons:
                _log.warning("Job type %s is not offered: %s", job_type, "; ".join(reasons))
            else:
                ready.append(job_type)
        if not ready:
            raise BadSetting("no job type can run here; the log says what is missing")
        _log.info("Job types: %s", ", ".join(ready))
        return ready

    def _work(self) -> None:
        """Poll and work until there is a reason to end."""
        _log.info("Polling every %g s", self._settings.poll_interval_sec)
        fruitless_lists = 0
        while not self._is_over():
            jobs = self._caller.until_answered(
                lambda client: client.available(self._job_types), final=()
            )
            if self._go_through(jobs):
                fruitless_lists = 0
                continue
            fruitless_lists += 1
            if jobs and not self._cannot_take and fruitless_lists < _MAX_FRUITLESS_LISTS:
                continue
            if self._settings.burst:
                return
            self._sleep()

    def _is_over(self) -> bool:
        max_jobs = self._settings.max_jobs
        is_enough = max_jobs is not None and self._dispatcher.jobs_done >= max_jobs
        return self._stop.wants_end or is_enough

    def _sleep(self) -> None:
        jitter = 1 + _POLL_JITTER * random.uniform(-1, 1)  # noqa: S311 - no secret
        self._caller.pause(self._settings.poll_interval_sec * jitter)

    def _go_through(self, jobs: List[Job]) -> bool:
        """Take one job of a list after the other; tell whether any was to be had."""
        took_any = False
        for job in jobs:
            if self._is_over():
                break
            took_any = self._take(job) or took_any
        self._dispatcher.drop_spare()
        return took_any

    def _take(self, job: Job) -> bool:
        """Claim a job, run it and report it; False where it is not to be had."""
        runner_id = self._caller.client.runner_id
        assert runner_id is not None  # noqa: S101 - the runner has identified itself
        entry = JournalEntry(job.job_id, job.job_type, self._settings.worker_url, runner_id)
        try:
            # Before the claim: from the moment that it is sent, the job may be ours.
            self._journal.write(entry)
            self._dispatcher.start_ahead()
        except OSError as error:
            self._journal.remove(entry.job_id)
            self._say_once_cannot_take(error)
            return False
        self._cannot_take = False
        if not self._claim(entry):
            self._journal.remove(entry.job_id)
            return False
        self._dispatcher.run(entry, job.input_params)
        return True

    def _claim(self, entry: JournalEntry) -> bool:
        """Claim a job; False where it is not to be had."""
        try:
            return self._recovery.claim(entry)
        except WorkerError as error:  # a refusal, which the next poll will meet too
            _log.debug("%s", error)
            self._register_anew_if_unknown()
            return False

    def _register_anew_if_unknown(self) -> None:
        if self._caller.until_answered(lambda client: client.verify()) is None:
            _log.warning("the worker does not know this runner any more; registering anew")
            register(self._caller, self._settings.directory, self._job_types)

    def _say_once_cannot_take(self, error: OSError) -> None:
        if not self._cannot_take:
            self._cannot_take = True
            _log.error("cannot take jobs, trying on at every poll: %s", error)
