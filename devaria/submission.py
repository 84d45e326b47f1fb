"""Submitting a job and waiting for its end, as `devaria submit` and the demo do."""

import json
import math
import time
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional

from devaria.answers import JobState
from devaria.backoff import Backoff
from devaria.client import WorkerClient
from devaria.errors import JobInputError, TransientError
from devaria.js_json import check_depth

#: Seconds between two looks at a job: quick for quick jobs, then within the worker's 60 a minute.
_LOOK_EVERY_SEC = (0.25, 0.25, 0.5, 1.0)
_LATER_LOOK_EVERY_SEC = 2.0

#: How long a worker that does not answer is waited for, in seconds.
_PATIENCE_SEC = 300.0


def parsed_params(pairs: Iterable[str], text: Optional[str]) -> Dict[str, Any]:
    """Read job parameters from a command line.

    Args:
        pairs: `name=value` each; a value is JSON where it parses as such, else a string.
        text: A JSON object, or `@` and the name of a file that holds one; the pairs are put over
            it.

    Returns:
        The parameters.

    Raises:
        JobInputError: Something cannot be read; the text says what.
    """
    params = _parsed_object(text) if text is not None else {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise JobInputError(f"-p {pair!r} is not of the form name=value")
        params[name] = _json_or_text(value)
    return params


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
        job = _looked_at(client, job_id)
        on_look(job)
        if job.is_final:
            return job
        time.sleep(wait_sec)
    raise AssertionError("the waits have no end")


def _looked_at(client: WorkerClient, job_id: str) -> JobState:
    backoff = Backoff(max_sec=30.0)
    give_up_at = time.monotonic() + _PATIENCE_SEC
    while True:
        try:
            return client.job(job_id)
        except TransientError as error:
            wait_sec = backoff.next_wait_sec(error.retry_after_sec)
            if time.monotonic() + wait_sec > give_up_at:
                raise
            time.sleep(wait_sec)


def _parsed_object(text: str) -> Dict[str, Any]:
    where = "--params"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise JobInputError(f"cannot read the parameters in {where}: {reason}") from None
    try:
        params = _parsed_json(text)
    except ValueError as error:
        raise JobInputError(f"{where} is not JSON: {error}") from None
    if not isinstance(params, dict):
        raise JobInputError(f'{where} must hold a JSON object, such as \'{{"name": "Alice"}}\'')
    return params


def _json_or_text(value: str) -> Any:
    try:
        return _parsed_json(value)
    except ValueError:
        return value


def _parsed_json(text: str) -> Any:
    check_depth(text)
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond the numbers that JSON readers have")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")
