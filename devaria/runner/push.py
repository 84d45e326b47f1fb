"""Push: a message of NotifyRelay ends the runner's sleep. The polls go on all the same."""

import json
import logging
import threading
import time
from typing import Any, Callable, FrozenSet, Optional, Sequence

from devaria.client.relay import RelayAccess, RelaySession
from devaria.common.config import RunnerSettings
from devaria.common.errors import BadSetting, StrangeAnswer, Unauthorized, WorkerError
from devaria.common.retry import Backoff

_log = logging.getLogger(__name__)


class Push:
    """Learns of new jobs, in a thread of its own.

    Args:
        settings: The operator's choices. Their environment has the variables of NotifyRelay.
        notify: Wakes the main thread.
    """

    def __init__(self, settings: RunnerSettings, notify: Callable[[], None]) -> None:
        self._settings = settings
        self._timing = settings.timing
        self._notify = notify
        self._session: Optional[RelaySession] = None
        self._job_types: FrozenSet[str] = frozenset()
        self._has_news = threading.Event()
        self._has_ended = threading.Event()
        self._backoff: Optional[Backoff] = None
        self._has_seen_garbage = False

    def start(self, job_types: Sequence[str]) -> None:
        """Subscribe, if the variables are set. A further call does nothing.

        Args:
            job_types: Those that the runner offers.
        """
        if self._session is not None:
            return
        try:
            access = RelayAccess.of(self._settings.environ, insecure=self._settings.insecure)
        except BadSetting as error:
            _log.warning("push is off: %s", error)
            return
        if access is not None:
            _log.info("Push from %s", access.url)
            self._job_types = frozenset(job_types)
            session = RelaySession(access, self._timing)
            threading.Thread(target=self._work, args=(session,), name="push", daemon=True).start()
            self._session = session  # only now: without a thread, the next call tries again

    def end(self) -> None:
        """End the thread at once, also in a long poll."""
        self._has_ended.set()
        if self._session is not None:
            self._session.end()

    def has_news(self) -> bool:
        """Return whether a job was announced since `forget`."""
        return self._has_news.is_set()

    def forget(self) -> None:
        """Forget what was announced: the poll that follows finds it."""
        self._has_news.clear()

    def _work(self, session: RelaySession) -> None:
        wait_sec = 0.0
        try:
            while not self._has_ended.wait(wait_sec):
                try:
                    wait_sec = self._poll(session)
                except Exception as error:  # such as a lack of memory: the thread goes on
                    wait_sec = self._wait_after(error)
        finally:
            session.close()

    def _poll(self, session: RelaySession) -> float:
        """Wait for one answer; return how long to wait before the next one is asked for."""
        started = time.monotonic()
        try:
            messages = session.messages(self._timing.relay_wait_sec)
        except WorkerError as error:
            return 0.0 if self._has_ended.is_set() else self._wait_after(error)
        except Exception as error:  # the thread must not be silently gone
            return self._wait_after(StrangeAnswer(f"{type(error).__name__}: {error}"))
        if self._backoff is not None:
            self._backoff = None
            _log.info("push works again")
        has_news = any(self._concerns_this_runner(message) for message in messages)
        if has_news:
            self._has_news.set()
            self._notify()
        gap_sec = self._timing.relay_gap_sec
        return gap_sec if has_news or time.monotonic() - started < gap_sec else 0.0

    def _wait_after(self, error: Exception) -> float:
        if self._backoff is None:
            self._backoff = Backoff(self._timing.backoff_base_sec, self._timing.backoff_max_sec)
            reason = str(error) if isinstance(error, WorkerError) else repr(error)
            _log.warning("push fails, trying again; the polls go on: %s", reason)
        if isinstance(error, Unauthorized):
            return self._timing.unauthorized_wait_sec
        return self._backoff.next_wait_sec()

    def _concerns_this_runner(self, message: Any) -> bool:
        try:
            # Numbers stay texts: those with a million digits would take long.
            content = json.loads(message, parse_int=str, parse_float=str)
            kind, job_type = content.get("type"), content.get("job_type")
        except (ValueError, TypeError, AttributeError, RecursionError):
            if not self._has_seen_garbage:
                self._has_seen_garbage = True
                _log.warning("push: left out what is no JSON object; later ones are not logged")
            return False
        # A message need not name the job's type. Then the poll finds out.
        return kind == "new_job" and (not isinstance(job_type, str) or job_type in self._job_types)
