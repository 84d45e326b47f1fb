"""Waiting for the end of a job, as `submit --wait`, `job --follow` and `rerun` do."""

import contextlib
import time
from functools import partial
from itertools import chain, repeat
from typing import Callable, Iterator

from devaria.client.client import WorkerClient
from devaria.client.models import JobState
from devaria.common.errors import NotFound, StrangeAnswer
from devaria.common.retry import patiently
from devaria.common.timing import Timing

#: How many characters at a console's end are looked up in the next console, to find what is new.
_OVERLAP_CHARACTERS = 2_000


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
    look = partial(client.job, job_id)
    return _at_its_end(patiently(look, timing), look, on_look, waits_sec, timing)


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
    first = client.job_detail(job_id)  # a worker that cannot be reached is an error at once
    look = partial(client.job_detail, job_id)
    return _at_its_end(first, look, pass_on_news, repeat(timing.look_sec), timing)


def _at_its_end(
    job: JobState,
    look: Callable[[], JobState],
    on_look: Callable[[JobState], None],
    waits_sec: Iterator[float],
    timing: Timing,
) -> JobState:
    """Look at a job after each wait until it has ended; return it."""
    on_look(job)
    while not job.is_final:
        time.sleep(next(waits_sec))
        job = patiently(look, timing)
        on_look(job)
    return job


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
    old = client.job_detail(job_id)
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
