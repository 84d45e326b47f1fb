"""Who waits for news of jobs: runners for jobs to run, readers for the state of a job."""

import contextlib
from typing import Iterator, Optional

from devaria.worker.store.pickup import Pending, Pickup
from devaria.worker.store.waiting import IsGone, Wait, Waits

#: How many readers may wait at once. They need no key that runners need, so they must not be able
#: to take the place of runners.
MAX_READERS = 50


class _Reader(Wait):
    """A reader that waits for a change of one job, or, with None, of any job or runner."""

    def __init__(self, job_id: Optional[str], is_gone: IsGone) -> None:
        super().__init__(is_gone)
        self.job_id = job_id


class JobNews:
    """Told of each change of a job; wakes those who wait for it.

    Attributes:
        waits: All requests that wait.
        pickup: Offers pending jobs to runners.
    """

    def __init__(self) -> None:
        self.waits = Waits()
        self.pickup = Pickup(self.waits)
        self.waits.on_sweep = self.pickup.end_offers

    def is_pending(self, job_id: str, job_type: str) -> None:
        """Note that a job waits for a runner: it is new, or its runner fell silent."""
        with self.waits.lock:
            self.pickup.tell(Pending(job_id, job_type))
            self._wake_readers(job_id)

    def is_taken(self, job_id: str) -> None:
        """Note that a job does not wait for a runner any more: it is claimed, or deleted."""
        with self.waits.lock:
            self.pickup.forget(job_id)
            self._wake_readers(job_id)

    def has_changed(self, job_id: Optional[str] = None) -> None:
        """Note any other change of a job; without an id, that a runner is new."""
        with self.waits.lock:
            self._wake_readers(job_id)

    @contextlib.contextmanager
    def reading(self, job_id: Optional[str], is_gone: IsGone) -> Iterator[Optional[Wait]]:
        """Let a reader wait in a ``with`` block.

        Args:
            job_id: The job that it shows; None for all jobs and runners.
            is_gone: Returns whether the reader is gone.

        Yields:
            What it waits on; None if too many readers wait.
        """
        reader = _Reader(job_id, is_gone)
        with self.waits.lock:
            may_wait = self.waits.enter(reader, MAX_READERS)
        try:
            yield reader if may_wait else None
        finally:
            with self.waits.lock:
                self.waits.leave(reader)

    def _wake_readers(self, job_id: Optional[str]) -> None:
        for reader in self.waits.of_type(_Reader):
            if reader.job_id in (None, job_id):
                reader.wake()
