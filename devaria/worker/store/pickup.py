"""Which runner is told of which job: polls that wait, and offers that keep runners apart.

A poll that may wait is told of jobs that no other runner is told of. That is an offer. It holds for
a moment, in which the runner claims the job. If the job is still pending after that, since the
runner died or is busy with another job, the next runner is told of it.

A runner that is alone gets a whole list, and is not asked to come back soon. A runner that comes
later is told of the last jobs of that list, while the first one works at its beginning.

An offer reserves nothing: other polls list every pending job, and any runner may claim it.
"""

import time
from typing import Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence

from devaria.worker.store.waiting import IsGone, Wait, Waits

#: How many polls may wait at once.
MAX_WAITING = 200
#: How many jobs one answer lists.
LISTED = 50
#: For how long runners that share the queue may claim from a list, in seconds.
SHARED_SEC = 1.0
#: For how long a runner that is alone may claim from a list, in seconds.
ALONE_SEC = 600.0
#: An offer lasts so much longer, in seconds: the answer and the claim are on their way.
_TRIP_SEC = 0.25
#: Runners that have polled within this time, in seconds, share the pending jobs.
_RECENT_SEC = 3.0
#: At most so many jobs are shared at a time.
_MAX_SHARED = 1_000


class Pending(NamedTuple):
    """A pending job."""

    job_id: str
    job_type: str


#: Returns the oldest pending jobs of the types of a poll; takes their greatest number.
ReadPending = Callable[[int], List[Pending]]


class Told(NamedTuple):
    """What a poll is told.

    Args:
        job_ids: Ids of at most 50 jobs.
        for_sec: For how long the runner may claim from them, in seconds.
    """

    job_ids: List[str]
    for_sec: float = SHARED_SEC


class _Offer(NamedTuple):
    job_type: str
    runner_id: str
    until: float
    is_lent: bool  # a runner that comes later may be told of the job, too


class _Visit(NamedTuple):
    at: float
    job_types: FrozenSet[str]


class _Poll(Wait):
    """A poll that waits, or is about to."""

    def __init__(self, runner_id: str, job_types: Sequence[str], is_gone: IsGone) -> None:
        super().__init__(is_gone)
        self.runner_id = runner_id
        self.job_types = frozenset(job_types)
        #: Whether the runner has polled again since.
        self.is_replaced = False


class Pickup:
    """Offers pending jobs to runners.

    Args:
        waits: Where polls wait. Its lock guards the offers too.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(self, waits: Waits, clock: Callable[[], float] = time.monotonic) -> None:
        self._waits = waits
        self._clock = clock
        self._offers: Dict[str, _Offer] = {}
        self._visits: Dict[str, _Visit] = {}

    def jobs_for(
        self,
        runner_id: str,
        job_types: Sequence[str],
        wait_sec: float,
        is_gone: IsGone,
        read_pending: ReadPending,
    ) -> Optional[Told]:
        """Choose the jobs that a poll is answered with; wait until there is one.

        Args:
            runner_id: The runner that polls. What it was offered before is offered to others.
            job_types: The types that it runs.
            wait_sec: How long to wait.
            is_gone: Returns whether the runner is gone.
            read_pending: Reads the queue. It is called with the lock held.

        Returns:
            The jobs; none when the time is over. None if there is none now, and the poll cannot
            wait: its time is 0, or too many others wait.
        """
        poll = _Poll(runner_id, job_types, is_gone)
        until = time.monotonic() + wait_sec
        with self._waits.lock:
            self._visits[runner_id] = _Visit(self._clock(), poll.job_types)
            self._end_earlier_poll(runner_id)
            self._withdraw_from(runner_id)
            told = self._choose(poll, read_pending)
            if told.job_ids:
                return told
            if wait_sec <= 0 or not self._waits.enter(poll, MAX_WAITING):
                return None
        try:
            return self._waited(poll, until, read_pending)
        finally:
            with self._waits.lock:
                self._waits.leave(poll)

    def tell(self, job: Pending) -> None:
        """Offer a pending job to the runner that has waited the longest. The lock is held.

        If none waits, the next poll finds the job.
        """
        if job.job_id in self._offers:
            return
        for poll in self._waits.of_type(_Poll):
            if job.job_type in poll.job_types and not poll.has_news and not poll.is_gone():
                self._offer(job, poll, SHARED_SEC)
                poll.wake()
                return

    def forget(self, job_id: str) -> None:
        """Note that a job is not pending any more. The lock is held."""
        self._offers.pop(job_id, None)

    def end_offers(self) -> None:
        """Offer jobs to other runners whose offers are over. The lock is held."""
        now = self._clock()
        self._withdraw(lambda offer: offer.until <= now)

    def _waited(self, poll: _Poll, until: float, read_pending: ReadPending) -> Told:
        """Return what is chosen for a poll, when there is something or its time is over."""
        while True:
            may_wait = poll.sleep(until)
            with self._waits.lock:
                poll.begin_look()
                told = Told([]) if poll.is_over else self._choose(poll, read_pending)
                if told.job_ids or not may_wait:
                    self._waits.leave(poll)
                    if not told.job_ids and not poll.is_replaced:
                        self._withdraw_from(poll.runner_id)
                    return told

    def _choose(self, poll: _Poll, read_pending: ReadPending) -> Told:
        """Offer a runner its share of the pending jobs that no other runner is told of."""
        self.end_offers()
        sharers = self._sharers(poll)
        pending = read_pending(min(LISTED * sharers, _MAX_SHARED) + len(self._offers))
        own = [job for job in pending if self._is_offered_to(job, poll.runner_id)]
        free = [job for job in pending if job.job_id not in self._offers]
        others_wait = self._others_wait_for(free, poll)
        # If others wait, the jobs were submitted a moment ago, and they are told of them next.
        share = 1 if others_wait else min(max((len(own) + len(free)) // sharers, 1), LISTED)
        chosen = (own + free)[:share] or self._lent(pending, sharers)
        is_alone = sharers == 1 and len(chosen) > 1
        for_sec = ALONE_SEC if is_alone else SHARED_SEC
        for job in chosen:
            self._offer(job, poll, for_sec)
        return Told([job.job_id for job in chosen], for_sec)

    def _lent(self, pending: Sequence[Pending], sharers: int) -> List[Pending]:
        """Return the share of a runner that comes while all jobs are in lists of other runners."""
        lent = [job for job in pending if self._offers[job.job_id].is_lent]
        return lent[-min(max(len(lent) // sharers, 1), LISTED) :]

    def _end_earlier_poll(self, runner_id: str) -> None:
        """End a poll that nobody listens to any more: a runner makes one at a time."""
        for poll in self._waits.of_type(_Poll):
            if poll.runner_id == runner_id:
                poll.is_replaced = True
                poll.end()

    def _sharers(self, poll: _Poll) -> int:
        """Return how many runners of the same types poll, wait, or are told of jobs."""
        since = self._clock() - _RECENT_SEC
        self._visits = {name: visit for name, visit in self._visits.items() if visit.at >= since}
        visits, polls = self._visits.items(), self._waits.of_type(_Poll)
        sharers = {poll.runner_id}
        sharers.update(name for name, visit in visits if visit.job_types & poll.job_types)
        sharers.update(each.runner_id for each in polls if each.job_types & poll.job_types)
        offers = self._offers.values()
        sharers.update(each.runner_id for each in offers if each.job_type in poll.job_types)
        return len(sharers)

    def _others_wait_for(self, jobs: Sequence[Pending], poll: _Poll) -> bool:
        wanted = {job.job_type for job in jobs}
        return any(
            other is not poll and not other.has_news and not wanted.isdisjoint(other.job_types)
            for other in self._waits.of_type(_Poll)
        )

    def _is_offered_to(self, job: Pending, runner_id: str) -> bool:
        offer = self._offers.get(job.job_id)
        return offer is not None and offer.runner_id == runner_id

    def _offer(self, job: Pending, poll: _Poll, for_sec: float) -> None:
        until = self._clock() + for_sec + _TRIP_SEC
        is_lent = for_sec == ALONE_SEC
        self._offers[job.job_id] = _Offer(job.job_type, poll.runner_id, until, is_lent)

    def _withdraw_from(self, runner_id: str) -> None:
        self._withdraw(lambda offer: offer.runner_id == runner_id)

    def _withdraw(self, is_over: Callable[[_Offer], bool]) -> None:
        """End offers, and offer the jobs to runners that wait."""
        over = {job_id: offer for job_id, offer in self._offers.items() if is_over(offer)}
        for job_id in over:
            del self._offers[job_id]
        for job_id, offer in over.items():
            self.tell(Pending(job_id, offer.job_type))
