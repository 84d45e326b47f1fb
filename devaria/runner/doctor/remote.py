"""The doctor's checks over the network: the worker, its clock, the keys, push, figpack."""

import contextlib
import json
import time
from dataclasses import replace
from typing import Any, Iterator, Tuple

from devaria import __version__
from devaria.client.client import WorkerClient
from devaria.client.relay import RelayAccess, RelaySession
from devaria.common.config import (
    RELAY_KEY_VARIABLE,
    RELAY_URL_VARIABLE,
    RunnerConfig,
    checked_worker_url,
)
from devaria.common.errors import BadSetting, DevariaError, Unauthorized, WorkerError
from devaria.common.http.fetching import Fetched, Fetcher, FetchError
from devaria.common.retry import epoch_sec
from devaria.common.timing import Timing
from devaria.runner.doctor.check import FAILURE, OK, WARNING, Check, CheckContext

_TIMEOUT_SEC = Timing().connect_timeout_sec
_LIMIT_SEC = 2 * _TIMEOUT_SEC
_MAX_CLOCK_ERROR_SEC = 60.0
_FIGPACK_URL = "https://figpack-api.figpack.org"
_FIGPACK_JOB_TYPES = "figpack_"  # how their names begin
_MAX_ANSWER_BYTES = 1_000_000
#: For how long NotifyRelay is asked for messages, in seconds.
_RELAY_WAIT_SEC = 1.0
#: Sent if there is no registration: any id shows whether the key is accepted.
_NO_RUNNER = "none"


def check_worker(context: CheckContext) -> Iterator[Check]:
    """Check the worker, its clock, the runner key, and the registration.

    Sends the key only to a URL that a runner would use.
    """
    checks = {check.name: check for check in _worker_checks(context)}
    yield from checks.values()
    if "registration" not in checks:
        config = RunnerConfig.peek(context.directory)
        found = "none here yet" if config is None else f"{config.runner_name}, not verified"
        yield Check("registration", WARNING, found, "first correct what is listed before this")


def _worker_checks(context: CheckContext) -> Iterator[Check]:
    try:
        url = checked_worker_url(context.worker_url, insecure=context.insecure)
    except DevariaError as error:
        yield Check("worker", FAILURE, str(error), "correct --worker-url or DEVARIA_WORKER_URL")
        return
    try:
        started = time.monotonic()
        answer = _fetched("GET", f"{url}/health", wants_body=lambda _status: False)
        elapsed = time.monotonic() - started
    except FetchError as error:
        yield Check(
            "worker", FAILURE, f"{url}: {error}", "check the URL, the network and the proxy"
        )
        return
    found = f"{url} answered {answer.status} in {elapsed * 1000:.0f} ms"
    if answer.status != 200:
        yield Check("worker", FAILURE, found, "check that this is a Devaria worker's URL")
        return
    yield Check("worker", OK, found)
    yield _clock(answer.headers.get("Date", ""))
    if context.key:
        yield from _registration_checks(context, url)


def _clock(date_header: str) -> Check:
    there = epoch_sec(date_header)
    if there is None:
        return Check("clock", OK, "the worker does not send its time")
    off_sec = time.time() - there
    if abs(off_sec) <= _MAX_CLOCK_ERROR_SEC:
        return Check("clock", OK, f"within {abs(off_sec):.0f} s of the worker's")
    advice = "set this machine's clock (NTP); until then the times in the log are wrong"
    return Check("clock", WARNING, f"{off_sec:+.0f} s from the worker's", advice)


def _registration_checks(context: CheckContext, url: str) -> Iterator[Check]:
    config = RunnerConfig.peek(context.directory)
    client = WorkerClient(url, context.key)
    try:
        known_as = client.verify(_NO_RUNNER if config is None else config.runner_id)
    except Unauthorized:
        advice = "use this worker's runner key; it is neither the submit key nor the admin key"
        yield Check("key accepted", FAILURE, "the worker refuses the key (401)", advice)
        return
    except DevariaError as error:
        advice = "check that this is a Devaria worker's URL, or try again later"
        yield Check("key accepted", FAILURE, str(error), advice)
        return
    finally:
        client.close()
    yield Check("key accepted", OK, "the worker accepts the key")
    if config is None:
        yield Check("registration", OK, "none here yet; the first start registers")
    elif known_as is not None:
        yield Check("registration", OK, f"{config.runner_name} (id {config.runner_id})")
    else:
        found = f"the worker does not know {config.runner_name} (any more)"
        yield Check("registration", WARNING, found, "nothing: the next start registers again")


def check_push(context: CheckContext) -> Iterator[Check]:
    """Check NotifyRelay and its key, if the runner is to subscribe there."""
    try:
        access = RelayAccess.of(context.environ, insecure=context.insecure)
    except BadSetting as error:
        advice = (
            "correct it, or unset all NOTIFY_RELAY_ variables; until then the runner only polls"
        )
        yield Check("push", WARNING, str(error), advice)
        return
    if access is None:
        return
    # Under another id: under its own, a runner would miss the messages that are fetched here.
    session = RelaySession(
        replace(access, subscriber_id=f"{access.subscriber_id}-doctor"), Timing()
    )
    try:
        session.messages(_RELAY_WAIT_SEC)
    except Unauthorized:
        advice = f"correct {RELAY_KEY_VARIABLE}; until then the runner only polls"
        yield Check("push", WARNING, f"{access.url} refuses the key", advice)
    except WorkerError as error:
        advice = f"check the network and {RELAY_URL_VARIABLE}; until then the runner only polls"
        yield Check("push", WARNING, str(error), advice)
    else:
        yield Check("push", OK, f"{access.url} accepts the key")
    finally:
        session.close()


def check_figpack(context: CheckContext) -> Iterator[Check]:
    """Check figpack's API and its key, if the runner is to make figures."""
    if not any(name.startswith(_FIGPACK_JOB_TYPES) for name in context.wanted):
        return
    key = context.environ.get("FIGPACK_API_KEY", "").strip()
    if not key:
        yield Check("figpack", WARNING, "FIGPACK_API_KEY is not set", "export it for figures")
        return
    url = (context.environ.get("FIGPACK_API_BASE_URL") or _FIGPACK_URL).rstrip("/")
    try:
        status, is_figpack = _try_key(url, key)
    except FetchError as error:
        advice = "check the network, and FIGPACK_API_BASE_URL"
        yield Check("figpack", WARNING, f"{url}: {error}", advice)
        return
    if status in (401, 403):
        found = f"{url} refuses the key ({status})"
        yield Check("figpack", WARNING, found, "correct FIGPACK_API_KEY; figures would fail")
    elif is_figpack and 400 <= status < 500:  # the request lacks what an upload must have
        yield Check("figpack", OK, f"{url} answers, and does not refuse the key")
    else:
        advice = "check FIGPACK_API_BASE_URL, or try again later"
        yield Check("figpack", WARNING, f"{url} answered {status}", advice)


def _try_key(url: str, key: str) -> Tuple[int, bool]:
    """Return the status of the answer, and whether figpack wrote it."""
    # figpack has no route that only checks a key. A request for an upload that names neither a
    # figure nor a file creates nothing.
    answer = _fetched("POST", f"{url}/upload", json={}, headers={"x-api-key": key})
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        content = None
    return answer.status, isinstance(content, dict) and "success" in content


def _fetched(method: str, url: str, **options: Any) -> Fetched:
    fetcher = Fetcher(f"devaria/{__version__}", max_bytes=_MAX_ANSWER_BYTES)
    with contextlib.closing(fetcher):
        return fetcher.fetch(
            method,
            url,
            limit_sec=_LIMIT_SEC,
            timeout_sec=(_TIMEOUT_SEC, _TIMEOUT_SEC),
            **options,
        )
