"""Waiting for the end of a job, as `submit --wait`, `job --follow` and `rerun` do."""

import contextlib
import time
from functools import partial
from itertools import chain, repeat
from typing import Callable, Iterator, Optional

from devaria.client.client import WorkerClient
from devaria.client.models import JobState, Look
from devaria.common.errors import NotFound, StrangeAnswer, TransientError
from devaria.common.retry import Pace, patiently
from devaria.common.timing import Timing

#: How many characters at a console's end are looked up in the next console, to find what is new.
_OVERLAP_CHARACTERS = 2_000

#: The worker allows 60 looks a minute: 20 at once, and 40 at this interval, in seconds.
_LOOKS_AT_ONCE, _LOOK_EVERY_SEC = 20, 1.5


def wait_for(client: WorkerClient, job_id: str, on_look: Callable[[JobState], None]) -> JobState:
    """Wait until a job ends.

    Args:
        client: A client with the submit key.
        job_id: The job's id.
        on_look: Called with the job's state after each look at it.

    Returns:
        The job at its end.

    Raises:
        NotFound: The job was deleted meanwhile.
        WorkerError: The worker did not answer for 5 minutes, or refuses the key.
    """
    timing = client.timing
    waits_sec = chain(timing.first_looks_sec, repeat(timing.look_sec))
    looks = _Looks(partial(client.look, job_id), timing, waits_sec)
    return _at_its_end(patiently(looks.first, timing), looks, on_look)


def follow(client: WorkerClient, job_id: str, on_news: Callable[[str], None]) -> JobState:
    """Hand over a job's console as it grows, until the job ends.

    Args:
        client: A client; no key is needed.
        job_id: The job's id.
        on_news: Called with what was added to the console since the last call.

    Returns:
        The job at its end.

    Raises:
        NotFound: There is no such job, or not any more.
        WorkerError: The worker did not answer the first look, or any later one for 5 minutes.
    """
    seen = ""

    def pass_on_news(job: JobState) -> None:
        nonlocal seen
        console = job.console_output or ""
        news = news_of(seen, console)
        if news:
            on_news(news)
        seen = console

    timing = client.timing
    looks = _Looks(partial(client.look, job_id, closely=True), timing, repeat(timing.look_sec))
    # A worker that cannot be reached is an error at once.
    return _at_its_end(looks.first(), looks, pass_on_news)


class _Looks:
    """Looks at a job: each waits for a change if the worker can, else one comes every few seconds.

    Args:
        look: Takes the time to wait in seconds, or None, and the last look, or None.
        timing: How long to wait.
        waits_sec: The times between looks that do not wait.
    """

    def __init__(
        self,
        look: Callable[[Optional[int], Optional[Look]], Look],
        timing: Timing,
        waits_sec: Iterator[float],
    ) -> None:
        self._look = look
        self._timing = timing
        self._waits_sec = waits_sec
        self._pace = Pace(_LOOKS_AT_ONCE, _LOOK_EVERY_SEC)

    def first(self) -> Look:
        """Look at once, and learn whether the worker can wait."""
        return self._look(self._timing.look_wait_sec, None)

    def next(self, seen: Look) -> Look:
        """Look again, when there is something new or some time is over."""
        if not seen.may_wait:
            time.sleep(next(self._waits_sec))
            return patiently(lambda: self._look(None, None), self._timing)
        # Something between here and the worker may cut requests that wait.
        with contextlib.suppress(TransientError):
            return self._next_news(seen)
        time.sleep(next(self._waits_sec))
        return patiently(self.first, self._timing)

    def _next_news(self, seen: Look) -> Look:
        time.sleep(self._pace.wait_sec())
        asked_at = time.monotonic()
        look = self._look(self._timing.look_wait_sec, seen)
        if look.tag == seen.tag:  # usually long after the question
            time.sleep(max(asked_at + self._timing.least_gap_sec - time.monotonic(), 0.0))
        return look


def _at_its_end(look: Look, looks: _Looks, on_look: Callable[[JobState], None]) -> JobState:
    """Look at a job again and again until it has ended; return it."""
    on_look(look.job)
    while not look.job.is_final:
        look = looks.next(look)
        on_look(look.job)
    return look.job


def news_of(before: str, now: str) -> str:
    """Return what was added to a console since the last look.

    Args:
        before: The console at the last look.
        now: The console at this look. A long one has lost its middle meanwhile.

    Returns:
        The added text; the whole console if it does not continue the earlier one.
    """
    if now.startswith(before):
        return now[len(before) :]
    end = before[-_OVERLAP_CHARACTERS:]
    at = now.rfind(end)
    return now if at < 0 else now[at + len(end) :]


def rerun(
    client: WorkerClient,
    admin: WorkerClient,
    job_id: str,
    on_deleted: Callable[[JobState], None] = lambda _job: None,
) -> JobState:
    """Delete a job and submit it again.

    Args:
        client: A client with the submit key.
        admin: A client with the admin or the runner key.
        job_id: The job's id.
        on_deleted: Called with the old job between the deletion and the new submission. At that
            moment its parameters are stored nowhere else.

    Returns:
        The new job.

    Raises:
        NotFound: There is no such job; nothing was done.
        Unauthorized: A key is not accepted; nothing was deleted.
        WorkerError: The worker refuses the job, or did not answer for 5 minutes.
    """
    old = admin.job_detail(job_id)  # some workers ask for the key
    if not old.job_type or old.input_params is None:
        raise StrangeAnswer(
            f"the worker answered without the type or the parameters of job {job_id}"
        )
    params = old.input_params
    client.job(job_id)  # finds a submit key that is not accepted, before the deletion
    # It may be gone already: somebody else deleted it, or an earlier try whose answer was lost.
    with contextlib.suppress(NotFound):
        patiently(lambda: admin.delete_job(job_id), client.timing)
    on_deleted(old)
    return patiently(lambda: client.submit(old.job_type, params), client.timing)
