"""Looking after single jobs, as `devaria job --follow` and `devaria rerun` do."""

import contextlib
import time
from itertools import chain, repeat
from typing import Callable

from devaria.client.client import AdminClient, WorkerClient
from devaria.client.models import JobState
from devaria.common.errors import NotFound, StrangeAnswer
from devaria.common.retry import patiently

#: Seconds between two looks at a job: quick for quick jobs, then within the worker's 60 a minute.
_LOOK_EVERY_SEC = (0.25, 0.25, 0.5, 1.0)
_LATER_LOOK_EVERY_SEC = 2.0

#: Time between two looks at a job that is followed, in seconds.
LOOK_EVERY_SEC = 2.0

#: So much of a console's end is looked for in the next one, to find where that goes on.
_OVERLAP_CHARACTERS = 2_000


def wait_for(client: WorkerClient, job_id: str, on_look: Callable[[JobState], None]) -> JobState:
    """Look at a job again and again until it ends.

    Args:
        client: A client with the submit key.
        job_id: The job.
        on_look: Is given what each look saw.

    Returns:
        The job at its end.

    Raises:
        NotFound: The job was deleted meanwhile.
        WorkerError: The worker did not answer for 5 minutes, or refuses the key.
    """
    for wait_sec in chain(_LOOK_EVERY_SEC, repeat(_LATER_LOOK_EVERY_SEC)):
        job = patiently(lambda: client.job(job_id))
        on_look(job)
        if job.is_final:
            return job
        time.sleep(wait_sec)
    raise AssertionError("the waits have no end")


def follow(
    client: WorkerClient,
    job_id: str,
    on_news: Callable[[str], None],
    look_every_sec: float = LOOK_EVERY_SEC,
) -> JobState:
    """Hand over a job's console as it grows, until the job ends.

    Args:
        client: A client; no key is needed.
        job_id: The job.
        on_news: Is given what came to the console since the last call.
        look_every_sec: Time between two looks, in seconds.

    Returns:
        The job at its end.

    Raises:
        NotFound: There is no such job (any more).
        WorkerError: The worker did not answer for 5 minutes.
    """
    job = client.job_detail(job_id)
    seen = ""
    while True:
        console = job.console_output or ""
        news = news_of(seen, console)
        if news:
            on_news(news)
        seen = console
        if job.is_final:
            return job
        time.sleep(look_every_sec)
        job = patiently(lambda: client.job_detail(job_id))


def news_of(before: str, now: str) -> str:
    """Say what came to a console, which is replaced as a whole each time.

    Args:
        before: The console as it was.
        now: As it is. A long one has lost its middle meanwhile.

    Returns:
        What was not there before; the whole console where it does not go on from before.
    """
    if now.startswith(before):
        return now[len(before) :]
    end = before[-_OVERLAP_CHARACTERS:]
    at = now.rfind(end)
    return now if at < 0 else now[at + len(end) :]


def rerun(
    client: WorkerClient,
    admin: AdminClient,
    job_id: str,
    on_deleted: Callable[[JobState], None] = lambda _job: None,
) -> JobState:
    """Delete a job and submit it again.

    Args:
        client: A client with the submit key.
        admin: A client with the admin or the runner key.
        job_id: The job.
        on_deleted: Is given the old job when it is deleted and not submitted again yet: from then
            on nobody else has its parameters.

    Returns:
        The new job.

    Raises:
        NotFound: There is no such job; nothing was done.
        Unauthorized: A key is not accepted; nothing was deleted.
        WorkerError: The worker refuses the job, or did not answer for 5 minutes.
    """
    old = client.job_detail(job_id)
    if not old.job_type or old.input_params is None:
        raise StrangeAnswer(f"the worker tells no type and parameters of job {job_id}")
    params = old.input_params
    client.job(job_id)  # a submit key that is not accepted must be known before the deletion
    with contextlib.suppress(
        NotFound
    ):  # deleted by somebody else, or by a try whose answer is lost
        patiently(lambda: admin.delete_job(job_id))
    on_deleted(old)
    return patiently(lambda: client.submit(old.job_type, params))
