"""Looking after single jobs, as `devaria job --follow` and `devaria rerun` do."""

import contextlib
import time
from typing import Callable, TypeVar

from devaria.admin_client import AdminClient
from devaria.answers import JobState
from devaria.backoff import Backoff
from devaria.client import WorkerClient
from devaria.errors import NotFound, StrangeAnswer, TransientError

T = TypeVar("T")

#: Time between two looks at a job that is followed, in seconds.
LOOK_EVERY_SEC = 2.0

#: How long a worker that does not answer is waited for, in seconds.
_PATIENCE_SEC = 300.0

#: So much of a console's end is looked for in the next one, to find where that goes on.
_OVERLAP_CHARACTERS = 2_000


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


def patiently(request: Callable[[], T]) -> T:
    """Make a request, again where that may help, for 5 minutes.

    Args:
        request: Makes it; what it does must not matter if it is done twice.

    Returns:
        What it returns.

    Raises:
        WorkerError: As it raises it.
    """
    backoff = Backoff(max_sec=30.0)
    give_up_at = time.monotonic() + _PATIENCE_SEC
    while True:
        try:
            return request()
        except TransientError as error:
            wait_sec = backoff.next_wait_sec(error.retry_after_sec)
            if time.monotonic() + wait_sec > give_up_at:
                raise
            time.sleep(wait_sec)
