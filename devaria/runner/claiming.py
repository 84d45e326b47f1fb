"""Claim jobs from a list that the worker sent, and run them."""

import logging
import random
import time
from typing import Callable, Counter, Dict, List, Optional, Sequence, Tuple, TypeVar

from devaria.client.client import WorkerClient
from devaria.client.models import Job, JobList
from devaria.common.errors import ClaimLost, WorkerError
from devaria.common.retry import NOT_THE_JOBS, Failures
from devaria.common.timing import Timing
from devaria.runner.job_run import JobRun, JobTools
from devaria.runner.journal import JournalEntry
from devaria.runner.registration import Registration

#: After this many lost races in a row, the rest of a list is out of date: others claim from it.
_MAX_LOST_RACES = 2

#: If others claim from the same queue, a list is trusted for this time, in seconds. The worker
#: answers 120 lists a minute: a runner that uses each for half a second stays within that.
_FRESH_SEC = 0.5

T = TypeVar("T")

_log = logging.getLogger(__name__)


class RunnerUnknownError(Exception):
    """The worker does not know this runner's id any more."""


class ClaimOrder:
    """Decides which job of a list to claim next, and when to ask for a new list instead.

    A runner that is alone goes through its list, the oldest job first, however long that takes.
    If others claim from the same queue, it picks jobs at random, so that the runners do not all
    try the same job. It then uses a list only while it is fresh: while one of thirty runners runs
    a job, the others take half of the fifty jobs in the list.

    A worker that lets polls wait offers each job to one runner for some time. Such a list is used
    in its order, and only for that time.

    There are others if this runner loses a race, or if a job that it did not try is missing from
    the next list. There are no others any more if all such jobs are still in the next list.

    Args:
        clock: Returns a monotonic time in seconds.
        pick: Returns a random number from 0 to under its argument.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        pick: Callable[[int], int] = random.randrange,
    ) -> None:
        self._clock = clock
        self._pick = pick
        self._left: List[Job] = []
        self._listed_at = 0.0
        self._has_rivals = False
        self._is_contended = False
        self._offered_sec: Optional[float] = None
        self._lost_races = 0

    @property
    def num_left(self) -> int:
        """How many jobs of the list are left."""
        return len(self._left)

    def begin(self, jobs: Sequence[Job], offered_sec: Optional[float] = None) -> None:
        """Take a list that the worker has just sent.

        Args:
            jobs: The list, the oldest job first.
            offered_sec: For how long the worker offers these jobs to this runner alone, in seconds;
                None if it does not.
        """
        if self._left:
            listed = {job.job_id for job in jobs}
            self._has_rivals = any(job.job_id not in listed for job in self._left)
        self._left = list(jobs)
        self._listed_at = self._clock()
        self._offered_sec = offered_sec
        self._is_contended = self._has_rivals
        self._lost_races = 0

    def next(self) -> Optional[Job]:
        """Return the job to claim; None if the list is used up or out of date."""
        is_offered = self._offered_sec is not None
        fresh_sec = _FRESH_SEC if self._offered_sec is None else self._offered_sec
        is_old = self._clock() - self._listed_at > fresh_sec
        is_shared = is_offered or self._is_contended or self._lost_races > 0
        if not self._left or self._lost_races >= _MAX_LOST_RACES or (is_old and is_shared):
            return None
        at_random = self._has_rivals and not is_offered
        return self._left.pop(self._pick(len(self._left)) if at_random else 0)

    def won(self) -> None:
        """Note that this runner got the job picked last."""
        self._lost_races = 0

    def lost(self) -> None:
        """Note that another runner got the job picked last."""
        self._has_rivals = True
        self._lost_races += 1


class SetAside:
    """Jobs whose claims fail though the worker answers. Each is left for some time.

    Args:
        timing: For how long.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(self, timing: Timing, clock: Callable[[], float] = time.monotonic) -> None:
        self._timing = timing
        self._clock = clock
        self._until: Dict[str, Tuple[float, Job]] = {}
        self._losses: Counter[str] = Counter()

    def add(self, job: Job, reason: str) -> None:
        """Set a job aside, and log why."""
        seconds = self._timing.set_aside_sec
        self._until[job.job_id] = (self._clock() + seconds, job)
        _log.warning(
            "Job %s cannot be claimed, trying it again in %g minutes: %s",
            job.job_id,
            seconds / 60,
            reason,
        )

    def settle(self, job: Job) -> None:
        """Note that it is known whose job it is."""
        self._until.pop(job.job_id, None)

    def without(self, listed: Sequence[Job]) -> List[Job]:
        """Return the other jobs of a list, after those whose time is over, listed or not."""
        now = self._clock()
        due = [job for until, job in self._until.values() if until <= now]
        return due + [job for job in listed if job.job_id not in self._until]

    def is_lost_too_often(self, job: Job) -> bool:
        """Count that a job was refused as another runner's. Tell whether it stays in the list."""
        self._losses[job.job_id] += 1
        return self._losses[job.job_id] >= self._timing.claim_failures

    def forget_losses(self, listed: Sequence[Job]) -> None:
        """Forget the losses of jobs that are not in the list any more."""
        ids = {job.job_id for job in listed}
        self._losses = Counter({each: n for each, n in self._losses.items() if each in ids})


class Claimer:
    """Claims jobs, and runs those that it gets.

    Args:
        tools: What jobs are run with.
    """

    def __init__(self, tools: JobTools) -> None:
        #: Whether a fault of this machine, such as a full disk, prevents claims.
        self.cannot_claim = False
        #: How many jobs it has claimed and run.
        self.jobs_run = 0
        self._tools = tools
        self._order = ClaimOrder()
        self._set_aside = SetAside(tools.settings.timing)

    def claimable(self, listed: JobList) -> JobList:
        """Return a list without the jobs that are set aside, and with those whose time is over."""
        self._set_aside.forget_losses(listed.jobs)
        return listed._replace(jobs=self._set_aside.without(listed.jobs))

    def run_jobs(
        self, listed: JobList, registration: Registration, is_over: Callable[[], bool]
    ) -> None:
        """Claim and run the jobs of a list one after another, in the order of `ClaimOrder`.

        Args:
            listed: The list.
            registration: The runner that claims them.
            is_over: Returns True once no further job is to be claimed.

        Raises:
            AbandonedError: The operator ends the runner first.
            RunnerUnknownError: The worker does not know the runner.
        """
        jobs_before = self.jobs_run
        jobs = [job for job in listed.jobs if job.job_type in registration.job_types]
        self._order.begin(jobs, listed.offered_sec)
        while not is_over():
            job = self._order.next()
            if job is None:
                break
            if self._run_job(job, registration.runner_id):
                self.jobs_run += 1
                self._order.won()
        if self.jobs_run == jobs_before:  # else the runner asks for a new list at once
            self._tools.prestart.drop()

    def claim(self, entry: JournalEntry) -> bool:
        """Claim a job, or find that an earlier claim of it succeeded.

        A claim that fails may still succeed, so after each failure the worker is asked whose job
        it is. So it is after a 409, the answer also if this runner has the job: by a claim whose
        answer was lost, or that a proxy sent twice.

        Args:
            entry: The job, and the runner id to claim it under.

        Returns:
            Whether the job is this runner's.

        Raises:
            AbandonedError: The operator ends the runner first.
            WorkerError: The claim failed several times, though the worker answers.
        """
        runner_id, job_id = entry.runner_id, entry.job_id
        failures = Failures(self._tools.settings.timing)
        while True:
            try:
                self._tools.caller.until_answered(
                    lambda client: client.claim(runner_id, job_id),
                    repeated=NOT_THE_JOBS,
                )
            except ClaimLost:
                return self.is_ours(entry)
            except WorkerError as error:
                if self.is_ours(entry):
                    return True
                wait_sec = failures.note(error)
                if failures.count >= self._tools.caller.max_failures:
                    raise
            else:
                return True
            self._tools.caller.pause(wait_sec)

    def is_ours(self, entry: JournalEntry) -> bool:
        """Ask the worker whether it has given a job to this runner; raise as `claim` does."""
        runner_id, job_id = entry.runner_id, entry.job_id
        return self.ask(entry, lambda client: client.is_claimed_by(runner_id, job_id))

    def ask(self, entry: JournalEntry, request: Callable[[WorkerClient], T]) -> T:
        """Make a request about a job a few times; a few times more if the worker was away."""
        caller = self._tools.caller
        try:
            return caller.few_times(request)
        except WorkerError:
            caller.until_answered(lambda client: client.verify(entry.runner_id))
        return caller.few_times(request)  # the worker is there again

    def _run_job(self, job: Job, runner_id: str) -> bool:
        """Claim a job, run it and report it. Return whether this runner got it."""
        tools = self._tools
        entry = JournalEntry(job.job_id, job.job_type, tools.worker_url, runner_id)
        try:
            # Before the claim: once that is sent, the job may be this runner's.
            tools.journal.write(entry)
            tools.prestart.start(runner_id, job.job_type)
        except OSError as error:
            tools.journal.remove(job.job_id)
            self._log_cannot_claim(error)
            return False
        self.cannot_claim = False
        try:
            is_claimed = self.claim(entry)
        except WorkerError as error:
            self._put_aside(job, runner_id, error)
            return False
        self._set_aside.settle(job)
        if not is_claimed:
            self._note_loss(job)
            return False
        tools.prestart.num_expected = self._order.num_left
        JobRun(tools, entry).run(job.input_params)
        return True

    def _note_loss(self, job: Job) -> None:
        _log.debug("Job %s is another runner's", job.job_id)
        self._tools.journal.remove(job.job_id)
        self._order.lost()
        if self._set_aside.is_lost_too_often(job):
            self._set_aside.add(job, "it is listed again and again, and is another runner's")

    def _put_aside(self, job: Job, runner_id: str, error: WorkerError) -> None:
        """Leave a job for some time, unless the fault is that the worker has lost this runner."""
        if self._tools.caller.until_answered(lambda client: client.verify(runner_id)) is None:
            self._tools.journal.remove(job.job_id)
            raise RunnerUnknownError(runner_id) from error
        # The journal keeps the job: the claim may still be on its way.
        self._set_aside.add(job, str(error))

    def _log_cannot_claim(self, error: OSError) -> None:
        """Log an error that prevents claims, once until a claim is possible again."""
        if not self.cannot_claim:
            self.cannot_claim = True
            _log.error("cannot take jobs, trying again at every poll: %s", error)
