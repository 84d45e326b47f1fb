"""Claim jobs from a list that the worker sent, and run them."""

import itertools
import logging
import random
import time
from typing import Callable, List, Optional, Sequence, Set

from devaria.client.client import WorkerClient
from devaria.client.models import Job, JobList
from devaria.common.errors import ClaimLost, NotFound, ServerError, WorkerError
from devaria.runner.job_run import JobRun, JobTools
from devaria.runner.journal import JournalEntry
from devaria.runner.registration import Registration

#: After this many lost races in a row, the rest of a list is out of date: others claim from it.
_MAX_LOST_RACES = 2

#: If others claim from the same queue, a list is trusted for this time, in seconds. The worker
#: answers 120 lists a minute: a runner that uses each for half a second stays within that.
_FRESH_SEC = 0.5

#: After this many answers of 5xx to the claim of one job, the job is left to others.
_MAX_FAILED_CLAIMS = 3

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
    def has_more(self) -> bool:
        """Whether jobs of the list are left."""
        return bool(self._left)

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
        #: The ids of jobs for which a claim may still be on its way.
        self._unsure: Set[str] = set()

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
            elif not self.cannot_claim:
                self._order.lost()
        if self.jobs_run == jobs_before:  # else the runner asks for a new list at once
            self._tools.prestart.drop()

    def claim(self, entry: JournalEntry) -> bool:
        """Claim a job, or find that an earlier claim of it succeeded.

        A claim without an answer is sent again. The first one may still be on its way, and may
        succeed after any look at the job. Once a later claim is answered with 200 or 409, the
        first one cannot succeed any more.

        Args:
            entry: The job, and the runner id to claim it under.

        Returns:
            Whether the job is this runner's.

        Raises:
            AbandonedError: The operator ends the runner first.
            NotFound: The worker does not know the runner id.
            WorkerError: It refuses the claim.
        """
        runner_id, job_id = entry.runner_id, entry.job_id
        failures = itertools.count(1)

        def claim(client: WorkerClient) -> bool:
            was_unsure = job_id in self._unsure
            self._unsure.add(job_id)
            is_claimed = True
            try:
                client.claim(runner_id, job_id)
            except ClaimLost:  # also the answer if this runner has the job already
                is_claimed = was_unsure and client.is_claimed_by(runner_id, job_id)
            except ServerError as error:
                if client.verify(runner_id) is None:  # the worker answers 500 to an unknown id
                    raise NotFound(f"the worker does not know {runner_id}") from error
                if next(failures) < _MAX_FAILED_CLAIMS:
                    raise
                return client.is_claimed_by(runner_id, job_id)
            self._unsure.discard(job_id)
            return is_claimed

        return self._tools.caller.until_answered(claim)

    def note_unsure(self, entries: Sequence[JournalEntry]) -> None:
        """Note that earlier claims of jobs may still be on their way."""
        self._unsure.update(entry.job_id for entry in entries)

    def _run_job(self, job: Job, runner_id: str) -> bool:
        """Claim a job, run it and report it. Return whether this runner got it."""
        tools = self._tools
        entry = JournalEntry(job.job_id, job.job_type, tools.worker_url, runner_id)
        try:
            # Before the claim: once that is sent, the job may be this runner's.
            tools.journal.write(entry)
            tools.prestart.start(runner_id)
        except OSError as error:
            tools.journal.remove(job.job_id)
            self._log_cannot_claim(error)
            return False
        self.cannot_claim = False
        if not self._is_claimed(entry):
            _log.debug("Job %s is another runner's", job.job_id)
            tools.journal.remove(job.job_id)
            return False
        tools.prestart.expects_more = self._order.has_more
        JobRun(tools, entry).run(job.input_params)
        return True

    def _is_claimed(self, entry: JournalEntry) -> bool:
        try:
            return self.claim(entry)
        except WorkerError as error:  # a refusal, which the next poll will meet too
            _log.debug("%s", error)
        runner_id = entry.runner_id
        if self._tools.caller.until_answered(lambda client: client.verify(runner_id)) is None:
            self._tools.journal.remove(entry.job_id)
            raise RunnerUnknownError(runner_id)
        return False

    def _log_cannot_claim(self, error: OSError) -> None:
        """Log an error that prevents claims, once until a claim is possible again."""
        if not self.cannot_claim:
            self.cannot_claim = True
            _log.error("cannot take jobs, trying again at every poll: %s", error)
