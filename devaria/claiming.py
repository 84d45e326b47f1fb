"""Takes jobs from the list that the worker answered: journal, claim, run."""

import logging
import random
from typing import Callable, List, Sequence

from devaria.answers import Job
from devaria.caller import Caller
from devaria.config import RunnerSettings
from devaria.dispatch import Dispatcher
from devaria.errors import WorkerError
from devaria.journal import Journal, JournalEntry
from devaria.recovery import Recovery
from devaria.registration import register

#: So many lost races in a row say that what is left of a list is old: others have drawn from it.
_MAX_LOST_RACES = 2

_log = logging.getLogger(__name__)


class Claimer:
    """Goes through lists of pending jobs, and takes what it can get.

    Args:
        settings: The operator's choices.
        caller: Makes the requests.
        journal: Where a job stands before it is claimed.
        dispatcher: Runs and reports jobs.
        recovery: Finds out whose a job is when the answer to a claim is lost.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        caller: Caller,
        journal: Journal,
        dispatcher: Dispatcher,
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
        self._recovery = recovery
        self._has_rivals = False

    def go_through(self, jobs: List[Job], is_over: Callable[[], bool]) -> bool:
        """Take one job of a list after the other, the oldest first.

        Where other runners draw from the same queue, the order is a random one, so that they do
        not all reach for the same job.

        Args:
            jobs: The list.
            is_over: Whether to take no further job.

        Returns:
            Whether any was to be had.
        """
        took_any, lost_races = False, 0
        left = list(jobs)
        self._has_rivals = self._has_rivals and len(left) > 1
        while left and not is_over() and lost_races < _MAX_LOST_RACES:
            position = random.randrange(len(left)) if self._has_rivals else 0  # noqa: S311 - no secret
            if self._take(left.pop(position), expects_more=bool(left)):
                took_any, lost_races = True, 0
            elif not self.cannot_take:
                self._has_rivals = True
                lost_races += 1
        self._dispatcher.drop_spare()
        return took_any

    def _take(self, job: Job, *, expects_more: bool) -> bool:
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
