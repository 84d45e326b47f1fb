"""The runner: identify, settle what is owed, then poll, claim, run, report, and sleep.

The main thread does all of it, one job at a time. Beside it are a thread that makes its requests,
one that learns of new jobs by push, the heartbeat of the job in hand, and the two readers of the
job's pipes. The main thread waits only on the wake-up, so that it acts at once on a signal, on the
end of a job, or on its loss.
"""

import logging
import os
import time
from typing import List, Mapping, Optional, Sequence

from devaria import __version__
from devaria.client.client import WorkerClient
from devaria.common.config import RunnerSettings
from devaria.common.errors import EXIT_OK, BadSetting, OutOfResources, out_of_resources
from devaria.execution.scratch import sweep
from devaria.execution.signals import StopRequest, Wakeup
from devaria.jobs.loading import FoundHandler
from devaria.runner.claiming import Claimer, RunnerUnknownError
from devaria.runner.job_run import JobTools
from devaria.runner.journal import Journal
from devaria.runner.polling import Polling
from devaria.runner.push import Push
from devaria.runner.recovery import Recovery
from devaria.runner.registration import Registration, identify, register
from devaria.runner.retrying import AbandonedError, Caller
from devaria.runner.status import RunnerStatus, StatusFile

#: The runner sleeps after this many lists in a row whose jobs all went to other runners.
_MAX_FRUITLESS_LISTS = 3
#: The runner ends when memory, open files or threads have run out so many times in a row.
_MAX_SHORTAGES = 5

_log = logging.getLogger(__name__)


class JobRunner:
    """A runner, from its start to its end.

    Args:
        settings: The operator's choices.
        client: A client with the runner key.
        found: The job types that were found, also those that cannot run here.
        wakeup: What the main thread waits on.
        stop: What the operator has asked for.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        client: WorkerClient,
        found: Mapping[str, FoundHandler],
        wakeup: Wakeup,
        stop: StopRequest,
    ) -> None:
        self._settings = settings
        self._found = found
        self._stop = stop
        self._status = StatusFile(
            settings.directory,
            RunnerStatus(os.getpid(), time.time(), settings.worker_url),
        )
        self._caller = Caller(client, wakeup, stop, self._status)
        handlers = {name: each.handler for name, each in found.items() if each.handler is not None}
        journal = Journal(settings.directory)
        self._tools = JobTools(
            settings, handlers, self._caller, journal, self._status, wakeup, stop
        )
        wakeup.do_regularly(self._tend, settings.timing.status_sec)
        self._claimer = Claimer(self._tools)
        self._polling = Polling(settings, self._caller)
        self._push = Push(settings, wakeup.notify)
        self._started = time.monotonic()

    def run(self) -> int:
        """Work until the operator ends it, or nothing is left to do.

        Returns:
            The exit code: 0, or 128 + the signal's number if a signal ended a job.

        Raises:
            OperatorError: The operator must correct something, such as a lack of memory.
            WorkerError: The worker refuses this runner.
        """
        _log.info("devaria %s, worker %s", __version__, self._settings.worker_url)
        job_types = self._ready_types()
        self._tools.prestart.preloads.offer(
            {job_type: self._tools.handlers[job_type] for job_type in job_types}
        )
        try:
            self._start_and_work(job_types)
        except AbandonedError:
            pass
        finally:
            self._push.end()
            self._tools.prestart.close()
            self._caller.close()
            self._status.close()
        jobs_done = self._status.jobs_done
        _log.info("Ended after %d job%s", jobs_done, "" if jobs_done == 1 else "s")
        return self._stop.exit_code if self._stop.wants_job_end else EXIT_OK

    def _start_and_work(self, job_types: Sequence[str]) -> None:
        """Start and work. Start anew, as after a crash, when the machine runs out of something.

        Raises:
            OutOfResources: It did so again and again.
        """
        shortages = 0
        while True:
            jobs_before = self._status.jobs_done
            try:
                self._settle_and_work(job_types)
            except Exception as error:
                if not out_of_resources(error):
                    raise
                shortages = 1 if self._status.jobs_done > jobs_before else shortages + 1
                if shortages >= _MAX_SHORTAGES:
                    raise OutOfResources(text_of_shortage(error)) from None
                if shortages == 1:
                    _log.error("%s; what is in hand stays in the journal", text_of_shortage(error))
            else:
                return
            self._tools.prestart.close()
            self._status.note_end(None)
            self._caller.pause(self._settings.timing.start_retry_sec)

    def _settle_and_work(self, job_types: Sequence[str]) -> None:
        patience_sec = self._settings.timing.start_patience_sec
        registration = identify(self._caller, self._settings.directory, job_types, patience_sec)
        self._note_identity(registration)
        sweep(self._settings.environ, registration.runner_id)
        Recovery(self._tools, self._found, self._claimer).run(registration.runner_id)
        self._work(registration)

    def _tend(self) -> None:
        """Do what is to be done every few seconds. The main thread does it while it waits."""
        self._status.write()
        try:
            self._tools.prestart.preloads.tend()
        except Exception as error:  # a job may be in hand, which must not suffer from this
            if not out_of_resources(error):
                raise
            _log.debug("cannot import ahead: %s", text_of_shortage(error))

    def _ready_types(self) -> List[str]:
        """Return the job types to offer: those wanted that can run here."""
        wanted = self._settings.job_types or tuple(self._found)
        unknown = [job_type for job_type in wanted if job_type not in self._found]
        if unknown:
            raise BadSetting(
                f"unknown job type {unknown[0]!r}; there are: {', '.join(self._found)}"
            )
        ready = []
        for job_type in wanted:
            reasons = self._found[job_type].reasons_against()
            if reasons:
                _log.warning("Job type %s is not offered: %s", job_type, "; ".join(reasons))
            else:
                ready.append(job_type)
        if not ready:
            raise BadSetting("no job type can run here; the log says what is missing")
        _log.info("Job types: %s", ", ".join(ready))
        return ready

    def _work(self, registration: Registration) -> None:
        """Poll and work until there is a reason to end."""
        _log.info("%s", self._polling.plan)
        if not self._settings.burst:
            self._push.start(registration.job_types)
        fruitless_lists = 0
        idle_since = time.monotonic()
        while not self._is_over():
            self._tools.prestart.preloads.attend(registration.runner_id)
            self._push.forget()
            polled = self._polling.poll(registration, self._ends_at(idle_since))
            listed = self._claimer.claimable(polled)
            jobs_before = self._claimer.jobs_run
            try:
                self._claimer.run_jobs(listed, registration, self._is_over)
            except RunnerUnknownError:
                registration = self._registered_again(registration)
            if self._claimer.jobs_run > jobs_before:
                fruitless_lists = 0
                idle_since = time.monotonic()
                continue
            fruitless_lists += 1
            is_race = bool(listed.jobs) and not self._claimer.cannot_claim
            if is_race and fruitless_lists < _MAX_FRUITLESS_LISTS:
                continue
            # Jobs that others claimed first, or that this machine cannot claim, may still be to do.
            if (self._settings.burst and not listed.jobs) or self._is_idle_too_long(idle_since):
                return
            self._rest(idle_since)

    def _registered_again(self, registration: Registration) -> Registration:
        _log.warning("the worker does not know this runner any more; registering again")
        self._tools.prestart.close()
        new = register(self._caller, self._settings.directory, registration.job_types)
        self._note_identity(new)
        return new

    def _note_identity(self, registration: Registration) -> None:
        self._status.update(runner_id=registration.runner_id, runner_name=registration.runner_name)

    def _is_over(self) -> bool:
        settings = self._settings
        if settings.max_jobs is not None and self._status.jobs_done >= settings.max_jobs:
            return True
        is_late = _is_reached(settings.max_time_sec, time.monotonic() - self._started)
        return is_late or self._stop.wants_end

    def _is_idle_too_long(self, idle_since: float) -> bool:
        return _is_reached(self._settings.max_idle_sec, time.monotonic() - idle_since)

    def _ends_at(self, idle_since: float) -> Optional[float]:
        """Return when a bound on idle or running time is reached; None if there is none."""
        settings = self._settings
        bounds = ((settings.max_idle_sec, idle_since), (settings.max_time_sec, self._started))
        return min((since + bound for bound, since in bounds if bound is not None), default=None)

    def _rest(self, idle_since: float) -> None:
        seconds = self._polling.rest_sec(can_claim=not self._claimer.cannot_claim)
        ends_at = self._ends_at(idle_since)
        if ends_at is not None:
            seconds = min(seconds, max(ends_at - time.monotonic(), 0.0))
        self._caller.pause(seconds, unless=self._push.has_news)


def text_of_shortage(error: BaseException) -> str:
    """Return one line for an error of which `out_of_resources` holds."""
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"the runner ran out of memory, open files or threads ({what})"


def _is_reached(bound: Optional[float], value: float) -> bool:
    return bound is not None and value >= bound
