"""The polls of a runner: how long the worker may hold each, and how long to rest after it.

A worker that lets polls wait holds a poll until there is a job (``Prefer: wait``, RFC 7240). The
runner then polls again at once. Other workers ignore the header, and are polled every
`--poll-interval` seconds.
"""

import logging
import math
import random
import time
from functools import partial
from typing import Optional

from devaria.client.client import WorkerClient
from devaria.client.models import JobList
from devaria.common.config import RunnerSettings
from devaria.common.errors import RateLimited, TransientError
from devaria.common.retry import Pace
from devaria.runner.registration import Registration
from devaria.runner.retrying import Caller

#: Each wait between two polls is longer or shorter by up to this fraction, so that runners that
#: were started together do not poll together.
_POLL_JITTER = 0.1

#: The worker answers 120 polls a minute: 60 at once, and 60 at this interval, in seconds.
_POLLS_AT_ONCE, _POLL_EVERY_SEC = 60, 1.0

#: After so many waits in a row that were broken off, shorter ones are asked for, or none.
_MAX_BROKEN_WAITS = 2

#: If waits are cut, this part of the time after which one was cut is asked for.
_CUT_FRACTION = 0.75

_log = logging.getLogger(__name__)


class Polling:
    """Polls the worker.

    Args:
        settings: Whether polls may wait, and the interval of those that do not.
        caller: Makes the requests.
    """

    def __init__(self, settings: RunnerSettings, caller: Caller) -> None:
        self._settings = settings
        self._caller = caller
        self._pace = Pace(_POLLS_AT_ONCE, _POLL_EVERY_SEC)
        self._waits = _Waits(settings)
        self._wait_sec: Optional[int] = None
        self._asked_at = 0.0
        #: Whether the worker holds polls, as its last answer to a poll that asked has said.
        self._holds_polls = False

    @property
    def plan(self) -> str:
        """How jobs are looked for, as a line for the log before the first poll.

        The first answer may come late from a worker that holds polls, so it is not waited for.
        """
        every = f"Polling every {self._settings.poll_interval_sec:g} s"
        if self._settings.no_wait or self._settings.burst:
            return every
        return f"{every}, or without a pause if the worker holds polls until there is a job"

    def poll(self, registration: Registration, ends_at: Optional[float]) -> JobList:
        """Ask for pending jobs, until the worker answers.

        Args:
            registration: The runner, and its job types.
            ends_at: When to give up, on the monotonic clock in seconds; None for never.

        Returns:
            The jobs.

        Raises:
            AbandonedError: The operator ends the runner first.
            WorkerGivenUp: The worker did not answer before `ends_at`.
            Unauthorized: It refuses the key, and there is an `ends_at`.
        """
        early_sec = self._pace.wait_sec()
        if early_sec > 0:
            self._caller.pause(_until(ends_at, early_sec))
        self._wait_sec = self._waits.wait_sec(ends_at)
        self._holds_polls = self._holds_polls and self._wait_sec is not None
        self._asked_at = time.monotonic()
        return self._caller.until_answered(
            partial(self._ask, registration),
            changes_nothing=True,
            final=(),
            give_up_at=ends_at,
        )

    def rest_sec(self, *, can_claim: bool) -> float:
        """Return how long to rest after a poll that brought nothing to do, in seconds.

        Args:
            can_claim: Whether this machine can claim jobs. If not, the worker would answer each
                poll at once with the same jobs.
        """
        if self._holds_polls and can_claim and not self._settings.burst:
            least_gap_sec = self._settings.timing.least_gap_sec
            return max(self._asked_at + least_gap_sec - time.monotonic(), 0.0)
        jitter = 1 + _POLL_JITTER * random.uniform(-1, 1)  # noqa: S311 - no secret
        return self._settings.poll_interval_sec * jitter

    def _ask(self, registration: Registration, client: WorkerClient) -> JobList:
        """Make one poll. The first one of several tries may wait; the request thread calls this."""
        wait_sec, self._wait_sec = self._wait_sec, None
        poll = partial(client.available, registration.runner_id, registration.job_types)
        asked_at = time.monotonic()
        try:
            listed = poll(wait_sec)
        except TransientError as error:
            if not wait_sec or isinstance(error, RateLimited):
                raise
            lasted_sec = time.monotonic() - asked_at
            listed = poll()  # if this fails too, the wait is not to blame
            self._waits.note_broken(lasted_sec)
            return listed
        if wait_sec is not None:
            self._waits.note_whole()
            self._holds_polls = listed.may_wait
        return listed


class _Waits:
    """How long polls may wait: at first the usual time, and less if something breaks them off.

    A proxy may cut a request that is idle for long; that is no fault of the worker's.

    Args:
        settings: Whether polls may wait, and how long.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._timing = settings.timing
        self._longest_sec = self._timing.poll_wait_sec
        self._shortened_at = -math.inf
        self._broken = 0
        self._is_said = False

    def wait_sec(self, ends_at: Optional[float]) -> Optional[int]:
        """Return how long the next poll may wait, in seconds; None if it must not ask."""
        if self._settings.no_wait:
            return None
        if self._settings.burst:
            return 0  # but the worker keeps runners apart
        if time.monotonic() > self._shortened_at + self._timing.cut_wait_sec:
            self._longest_sec = self._timing.poll_wait_sec
        return int(_until(ends_at, self._longest_sec)) if self._longest_sec else None

    def note_whole(self) -> None:
        """Note that a poll was answered."""
        self._broken = 0

    def note_broken(self, lasted_sec: float) -> None:
        """Note that a poll that could wait was not answered, though the worker is there.

        Args:
            lasted_sec: After how many seconds it was broken off.
        """
        self._broken += 1
        if self._broken < _MAX_BROKEN_WAITS:
            return
        self._broken = 0
        shorter_sec = int(_CUT_FRACTION * lasted_sec) if lasted_sec < self._longest_sec else 0
        self._longest_sec = shorter_sec if shorter_sec >= self._timing.least_wait_sec else 0
        self._shortened_at = time.monotonic()
        if not self._is_said:
            self._is_said = True
            _log.info(
                "Polls that wait are broken off after %.1f s; %s",
                lasted_sec,
                f"they wait for {self._longest_sec} s now"
                if self._longest_sec
                else f"polling every {self._settings.poll_interval_sec:g} s",
            )


def _until(ends_at: Optional[float], seconds: float) -> float:
    """Return the seconds, but at most those until a time on the monotonic clock."""
    return seconds if ends_at is None else min(seconds, max(ends_at - time.monotonic(), 0.0))
