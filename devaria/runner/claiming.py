"""Takes jobs from the list that the worker answered: journal, claim, run."""

import logging
import random
import time
from typing import Callable, List, Optional, Sequence

from devaria.client.models import Job
from devaria.common.config import RunnerSettings
from devaria.common.errors import WorkerError
from devaria.runner.dispatch import Dispatcher
from devaria.runner.journal import Journal, JournalEntry
from devaria.runner.prestart import NextProcess
from devaria.runner.recovery import Recovery
from devaria.runner.registration import register
from devaria.runner.retrying import Caller

#: So many lost races in a row say that what is left of a list is old: others have drawn from it.
_MAX_LOST_RACES = 2

#: Where others draw from the same queue, a list that is older than this is not trusted. The worker
#: answers 120 lists a minute: a runner that keeps each for so long stays within that.
_FRESH_SEC = 0.5

_log = logging.getLogger(__name__)


class ClaimOrder:
    """Decides which job of a list to claim next, and when to ask for a new list instead.

    A runner that is alone goes through its list, the oldest job first, however long that takes.
    Where others draw from the same queue, it picks at random, so that they do not all reach for
    the same job, and only while the list is fresh: while one of thirty runners works at a job, the
    others take half of the fifty that a list holds. It knows of others by a lost race, or by jobs
    that it left and that are gone from the next list; once they all still stand there, it is alone
    again.

    Args:
        clock: Gives a monotonic time in seconds.
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
        self._lost_races = 0

    @property
    def has_more(self) -> bool:
        """Whether jobs of the list are left."""
        return bool(self._left)

    def begin(self, jobs: Sequence[Job]) -> None:
        """Take over a list that the worker has just answered.

        Args:
            jobs: The list, the oldest job first.
        """
        if self._left:
            listed = {job.job_id for job in jobs}
            self._has_rivals = any(job.job_id not in listed for job in self._left)
        self._left = list(jobs)
        self._listed_at = self._clock()
        self._is_contended = self._has_rivals
        self._lost_races = 0

    def next(self) -> Optional[Job]:
        """Pick the job to claim; None where the list is at its end, or not to be trusted."""
        is_old = self._clock() - self._listed_at > _FRESH_SEC
        is_drawn_from = self._is_contended or self._lost_races > 0
        if not self._left or self._lost_races >= _MAX_LOST_RACES or (is_old and is_drawn_from):
            return None
        return self._left.pop(self._pick(len(self._left)) if self._has_rivals else 0)

    def won(self) -> None:
        """Note that the job picked last was to be had."""
        self._lost_races = 0

    def lost(self) -> None:
        """Note that it went to another runner."""
        self._has_rivals = True
        self._lost_races += 1


class Claimer:
    """Goes through lists of pending jobs, and takes what it can get.

    Args:
        settings: The operator's choices.
        caller: Makes the requests.
        journal: Where a job stands before it is claimed.
        dispatcher: Runs and reports jobs.
        next_process: Starts the process of a job while it is claimed.
        recovery: Finds out whose a job is when the answer to a claim is lost.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        caller: Caller,
        journal: Journal,
        dispatcher: Dispatcher,
        next_process: NextProcess,
        recovery: Recovery,
    ) -> None:
        #: What to register anew with, should the worker forget this runner.
        self.job_types: Sequence[str] = ()
        #: Whether something of this machine (a full disk, say) keeps it from taking jobs.
        self.cannot_take = False
        self._settings = settings
        self._caller = caller
        self._journal = journal
        self._dispatcher = dispatcher
        self._next_process = next_process
        self._recovery = recovery
        self._order = ClaimOrder()

    def go_through(self, jobs: List[Job], is_over: Callable[[], bool]) -> bool:
        """Take one job of a list after the other, in the order that `ClaimOrder` gives.

        Args:
            jobs: The list.
            is_over: Whether to take no further job.

        Returns:
            Whether any was to be had.
        """
        took_any = False
        self._order.begin([job for job in jobs if job.job_type in self.job_types])
        while not is_over():
            job = self._order.next()
            if job is None:
                break
            if self._take(job, expects_more=self._order.has_more):
                took_any = True
                self._order.won()
            elif not self.cannot_take:
                self._order.lost()
        if not took_any:  # else it asks for a new list at once
            self._next_process.drop()
        return took_any

    def _take(self, job: Job, *, expects_more: bool) -> bool:
        """Claim a job, run it and report it; False where it is not to be had."""
        runner_id = self._caller.client.runner_id
        assert runner_id is not None  # noqa: S101 - the runner has identified itself
        entry = JournalEntry(job.job_id, job.job_type, self._settings.worker_url, runner_id)
        try:
            # Before the claim: from the moment that it is sent, the job may be ours.
            self._journal.write(entry)
            self._next_process.start()
        except OSError as error:
            self._journal.remove(entry.job_id)
            self._say_once_cannot_take(error)
            return False
        self.cannot_take = False
        if not self._claim(entry):
            self._journal.remove(entry.job_id)
            return False
        self._dispatcher.run(entry, job.input_params, expects_more=expects_more)
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
            register(self._caller, self._settings.directory, self.job_types)

    def _say_once_cannot_take(self, error: OSError) -> None:
        if not self.cannot_take:
            self.cannot_take = True
            _log.error("cannot take jobs, trying on at every poll: %s", error)
