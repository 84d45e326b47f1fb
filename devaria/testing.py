"""Helpers for the tests of handlers: run a handler, and serve a worker.

A test of a handler is about ten lines::

    from devaria.testing import run_handler
    from count_words import CountWords

    def test_counts_words():
        outcome = run_handler(CountWords, {"text": "to be or not to be"})
        assert outcome.result == {"words": 6}
        assert "Counting" in outcome.console

    def test_refuses_other_types():
        outcome = run_handler(CountWords, {"text": 7})
        assert outcome.error == "Invalid parameters: text must be a string, not 7"
"""

import contextlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Type

from devaria.common.folders import temporary_folder
from devaria.execution.result import failure_text, ready_result
from devaria.jobs import JobHandler

if TYPE_CHECKING:
    from devaria.worker.server import LocalWorker


@dataclass(frozen=True)
class Heartbeat:
    """One call of the heartbeat callback.

    Args:
        progress_current: How much is done, in the unit of `progress_total`; None if not passed.
        progress_total: How much there is to do; None if not passed.
        console_output: The whole console so far; None if not passed.
    """

    progress_current: Optional[float]
    progress_total: Optional[float]
    console_output: Optional[str]


@dataclass(frozen=True)
class HandlerOutcome:
    """How a handler's run ended.

    Args:
        result: The result, in the JSON values that the worker would get; None if the run failed.
        error: The error message that the worker would get; None if the run succeeded.
        exception: What the handler raised, or None.
        console: All that the handler printed, or the console that it passed itself.
        heartbeats: Every call of the heartbeat callback, in order.
    """

    result: Optional[Dict[str, Any]]
    error: Optional[str]
    exception: Optional[BaseException]
    console: str
    heartbeats: List[Heartbeat] = field(default_factory=list)


def run_handler(handler: Type[JobHandler], input_params: Dict[str, Any]) -> HandlerOutcome:
    """Run a handler in this process, otherwise as a runner would.

    Args:
        handler: The handler class.
        input_params: The job's parameters.

    Returns:
        How the run ended. An exception of the handler is kept in it, and not raised.
    """
    heartbeats: List[Heartbeat] = []

    def beat(
        progress_current: Optional[float] = None,
        progress_total: Optional[float] = None,
        console_output: Optional[str] = None,
    ) -> None:
        heartbeats.append(Heartbeat(progress_current, progress_total, console_output))

    printed = io.StringIO()
    result, error = None, None
    with temporary_folder() as run_dir, contextlib.redirect_stdout(printed):
        try:
            result = ready_result(handler().run(input_params, beat, run_dir))
        except Exception as raised:
            error = raised
    own = [each.console_output for each in heartbeats if each.console_output is not None]
    console = own[-1] if own else printed.getvalue()
    if result is not None:
        console = result.pop("console_output", console)
    message = None if error is None else failure_text(error)
    return HandlerOutcome(result, message, error, console, heartbeats)


@contextlib.contextmanager
def local_worker() -> Iterator["LocalWorker"]:
    """Serve a worker on a free port of this machine, without rate limits, for a test.

    As a pytest fixture::

        @pytest.fixture
        def worker():
            with local_worker() as worker:
                yield worker

    Yields:
        The worker: `url`, `keys` (`runner`, `submit`, `admin`, `figure`), `figpack_api_url`.
    """
    from devaria.worker.server import LocalWorker  # needs flask, which `run_handler` does not

    with contextlib.ExitStack() as stack:
        data = stack.enter_context(temporary_folder())
        yield stack.enter_context(LocalWorker(data, port=0, rate_limit=False))
