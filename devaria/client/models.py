"""What the worker answers, in types: jobs, what is told of them, and runners."""

from dataclasses import dataclass
from typing import Any, Iterable, List, Mapping, Optional, Tuple

from devaria.client.http import JsonObject
from devaria.common.contract import MAX_VALUE_DEPTH
from devaria.common.errors import StrangeAnswer


@dataclass(frozen=True)
class Job:
    """A job to be run.

    Args:
        job_id: The worker's id of the job.
        job_type: Which handler runs it.
        input_params: Parameters as the submitter gave them.
    """

    job_id: str
    job_type: str
    input_params: JsonObject


@dataclass(frozen=True)
class JobState:
    """What the worker tells of a job, to its submitter or to anybody.

    Args:
        job_id: The worker's id of the job.
        status: `pending`, `claimed`, `in_progress`, `completed`, `failed` or `expired`.
        progress_current: How much is done, or None.
        progress_total: How much there is to do, or None.
        output_data: The result of a completed job.
        console_output: The job's console, where the answer has one.
        error: The error message of a failed job.
        claimed_by: The runner id that has or had it, where the answer tells.
        job_type: The job's type, where the answer tells.
        input_params: The job's parameters, where the answer tells.
        created_at_ms: When it was submitted, in milliseconds since 1970, where the answer tells.
        last_heartbeat_ms: When its runner was last heard of, likewise.
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
    input_params: Optional[JsonObject] = None
    created_at_ms: Optional[float] = None
    last_heartbeat_ms: Optional[float] = None

    @property
    def is_in_hand(self) -> bool:
        """Whether a runner has claimed the job, and it has not ended."""
        return self.status in ("claimed", "in_progress")

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self.status in ("completed", "failed", "expired")


@dataclass(frozen=True)
class RunnerState:
    """What the worker tells of a runner.

    Args:
        runner_id: Its id.
        name: Its name.
        job_types: The job types that it offers.
        last_seen_ms: When the worker last heard of it, in milliseconds since 1970.
        is_active: Whether that is within 5 minutes.
    """

    runner_id: str
    name: str
    job_types: Tuple[str, ...]
    last_seen_ms: Optional[float]
    is_active: bool


def text_of(answer: Mapping[str, Any], field: str) -> str:
    """Read a field that must be there.

    Args:
        answer: The JSON object that was answered.
        field: The field's name.

    Returns:
        Its text, not empty.

    Raises:
        StrangeAnswer: It is not there.
    """
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise StrangeAnswer(f"the worker answered without {field}")
    return value


def is_job(entry: Any) -> bool:
    """Tell whether a part of an answer is a job that can be run.

    Args:
        entry: Anything.
    """
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("job_id"), str)
        and isinstance(entry.get("job_type"), str)
        and isinstance(entry.get("input_params"), dict)
        and _is_shallow(entry["input_params"])
    )


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


def job_of(entry: Any) -> Job:
    """Read a job.

    Args:
        entry: Something that `is_job`.
    """
    return Job(entry["job_id"], entry["job_type"], entry["input_params"])


def state_of(answer: JsonObject) -> JobState:
    """Read what is told of a job.

    Args:
        answer: The JSON object that was answered.

    Returns:
        What it tells; fields of a wrong type are as good as absent.

    Raises:
        StrangeAnswer: It does not even name the job and its status.
    """
    params = answer.get("input_params")
    progress = _object(answer.get("progress"))
    result = _object(answer.get("result"))
    return JobState(
        job_id=text_of(answer, "job_id"),
        status=text_of(answer, "status"),
        progress_current=_number(progress.get("current")),
        progress_total=_number(progress.get("total")),
        output_data=result.get("output_data"),
        console_output=_text_or_none(result.get("console_output")),
        error=_text_or_none(answer.get("error")),
        claimed_by=_text_or_none(answer.get("claimed_by")),
        job_type=_text_or_none(answer.get("job_type")) or "",
        input_params=params if isinstance(params, dict) else None,
        created_at_ms=_number(answer.get("created_at")),
        last_heartbeat_ms=_number(answer.get("last_heartbeat")),
    )


def runner_of(answer: JsonObject) -> RunnerState:
    """Read what is told of a runner.

    Args:
        answer: The JSON object that was answered.

    Raises:
        StrangeAnswer: It does not even name the runner.
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
    """Read a list of objects.

    Args:
        answer: The JSON object that was answered.
        field: The list's name.

    Returns:
        The objects in it; entries of another type are left out.

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
