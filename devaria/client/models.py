"""The worker's answers as typed values: jobs, their states, and runners."""

import contextlib
from dataclasses import dataclass
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from devaria.client.http import JsonObject
from devaria.common.contract import MAX_VALUE_DEPTH
from devaria.common.errors import StrangeAnswer
from devaria.common.js_json import well_formed
from devaria.common.sendable import is_id


@dataclass(frozen=True)
class Job:
    """A job to run.

    Args:
        job_id: The worker's id of the job.
        job_type: Says which handler runs it.
        input_params: What the submitter gave as parameters: any JSON value. `fault_of_params` says
            whether a job can run with it.
    """

    job_id: str
    job_type: str
    input_params: Any


@dataclass(frozen=True)
class JobState:
    """The state of a job, as the worker reports it. Each route reports other fields.

    Args:
        job_id: The worker's id of the job.
        status: `pending`, `claimed`, `in_progress`, `completed`, `failed` or `expired`.
        progress_current: How much is done, or None.
        progress_total: How much there is to do, or None.
        output_data: The result of a completed job.
        console_output: The job's console, or None.
        error: The error message of a failed job.
        claimed_by: The id of the runner that has or had it, or None.
        job_type: The job's type, or an empty string.
        input_params: The job's parameters: any JSON value. None if there are none.
        created_at_ms: When it was submitted, in milliseconds since 1970, or None.
        last_heartbeat_ms: When its runner last sent a heartbeat, in milliseconds since 1970, or
            None.
    """

    job_id: str
    status: str
    progress_current: Optional[float] = None
    progress_total: Optional[float] = None
    output_data: Any = None
    console_output: Optional[str] = None
    error: Optional[str] = None
    claimed_by: Optional[str] = None
    job_type: str = ""
    input_params: Any = None
    created_at_ms: Optional[float] = None
    last_heartbeat_ms: Optional[float] = None

    @property
    def is_in_hand(self) -> bool:
        """Whether a runner has claimed the job, and it has not ended."""
        return self.status in ("claimed", "in_progress")

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.status in ("completed", "failed", "expired")


class JobList(NamedTuple):
    """Pending jobs, as a worker lists them for a runner.

    Args:
        jobs: The jobs.
        may_wait: Whether the worker lets polls wait.
        offered_sec: For how many seconds it offers these jobs to this runner alone; None if it does
            not say.
    """

    jobs: List[Job]
    may_wait: bool = False
    offered_sec: Optional[float] = None


class Look(NamedTuple):
    """The state of a job, and how to learn of the next one.

    Args:
        job: The state.
        tag: The worker's name for this state.
        may_wait: Whether the worker lets a look wait until there is another state.
    """

    job: JobState
    tag: str = ""
    may_wait: bool = False


@dataclass(frozen=True)
class RunnerState:
    """The state of a runner, as the worker reports it.

    Args:
        runner_id: The id that the worker gave it.
        name: The name that it registered under.
        job_types: The job types that it offers.
        last_seen_ms: When the worker last heard of it, in milliseconds since 1970.
        is_active: Whether that was within the last 5 minutes.
    """

    runner_id: str
    name: str
    job_types: Tuple[str, ...]
    last_seen_ms: Optional[float]
    is_active: bool


def text_of(answer: Mapping[str, Any], field: str) -> str:
    """Return the text of a field that must be there.

    Raises:
        StrangeAnswer: The field is missing, empty, or not a string.
    """
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise StrangeAnswer(f"the worker answered without {field}")
    return value


def id_of(answer: Mapping[str, Any], field: str) -> str:
    """Return the id in a field that must be there.

    Raises:
        StrangeAnswer: The field is missing, or holds nothing that a request could name.
    """
    value = text_of(answer, field)
    if not is_id(value):
        raise StrangeAnswer(f"the worker answered with a {field} that cannot be sent")
    return value


def fault_of_params(params: Any) -> Optional[str]:
    """Return what keeps a job from running with these parameters, as a sentence; None if nothing.

    Args:
        params: Any JSON value.
    """
    if not isinstance(params, dict):
        return f"they must be an object, not {_kind_of(params)}"
    if not _is_shallow(params):
        return f"they are nested more than {MAX_VALUE_DEPTH} levels deep"
    return None


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {list: "a list", str: "a string", bool: "true or false"}
    return kinds.get(type(value), "a number")


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_VALUE_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return True
    return False


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _job_of(entry: JsonObject) -> Optional[Job]:
    """Return the job in an entry of a list; None if it cannot be claimed."""
    job_id, job_type = entry.get("job_id"), entry.get("job_type")
    if not isinstance(job_id, str) or not isinstance(job_type, str) or not _has_url(job_id):
        return None
    return Job(job_id, job_type, entry.get("input_params"))


def _has_url(job_id: str) -> bool:
    """Return whether a URL can name a job: lone surrogates have no UTF-8, dots lead elsewhere."""
    return job_id not in ("", ".", "..") and well_formed(job_id) == job_id


def list_of(answer: JsonObject, *, may_wait: bool) -> JobList:
    """Return the jobs of an answer to a poll. Entries that cannot be claimed are left out.

    Args:
        answer: The answer.
        may_wait: Whether the worker lets polls wait.

    Raises:
        StrangeAnswer: There is no list of jobs.
    """
    jobs = [job for job in map(_job_of, objects_of(answer, "jobs")) if job is not None]
    offered_sec = _number(answer.get("offered_sec")) if may_wait else None
    return JobList(jobs, may_wait, offered_sec if offered_sec and offered_sec > 0 else None)


def state_of(answer: JsonObject) -> JobState:
    """Return the state of a job from an answer. Fields of a wrong type count as absent.

    Raises:
        StrangeAnswer: The answer does not name the job and its status.
    """
    job_id = text_of(answer, "job_id")
    if not _has_url(job_id):
        raise StrangeAnswer("the worker answered with a job_id that cannot be sent")
    progress = _object(answer.get("progress"))
    result = _object(answer.get("result"))
    return JobState(
        job_id=job_id,
        status=text_of(answer, "status"),
        progress_current=_number(progress.get("current")),
        progress_total=_number(progress.get("total")),
        output_data=result.get("output_data"),
        console_output=_text_or_none(result.get("console_output")),
        error=_text_or_none(answer.get("error")),
        claimed_by=_text_or_none(answer.get("claimed_by")),
        job_type=_text_or_none(answer.get("job_type")) or "",
        input_params=answer.get("input_params"),
        created_at_ms=_number(answer.get("created_at")),
        last_heartbeat_ms=_number(answer.get("last_heartbeat")),
    )


def states_of(answer: JsonObject) -> List[JobState]:
    """Return the jobs of a list in an answer. Entries that are none are left out.

    Raises:
        StrangeAnswer: There is no such list.
    """
    states = []
    for entry in objects_of(answer, "jobs"):
        with contextlib.suppress(StrangeAnswer):
            states.append(state_of(entry))
    return states


def runner_of(answer: JsonObject) -> RunnerState:
    """Return the state of a runner from an answer. Fields of a wrong type count as absent.

    Raises:
        StrangeAnswer: The answer does not name the runner.
    """
    types = answer.get("capabilities")
    return RunnerState(
        runner_id=text_of(answer, "runner_id"),
        name=text_of(answer, "name"),
        job_types=tuple(map(str, types)) if isinstance(types, list) else (),
        last_seen_ms=_number(answer.get("last_seen")),
        is_active=answer.get("is_active") is True,
    )


def objects_of(answer: JsonObject, field: str) -> List[JsonObject]:
    """Return the objects of a list in an answer. Entries of another type are left out.

    Raises:
        StrangeAnswer: There is no such list.
    """
    entries = answer.get(field)
    if not isinstance(entries, list):
        raise StrangeAnswer(f"the worker answered without a list of {field}")
    return [entry for entry in entries if isinstance(entry, dict)]


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _text_or_none(value: Any) -> Optional[str]:
    return value if isinstance(value, str) else None


def _number(value: Any) -> Optional[float]:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
