"""Runs the handlers of misbehaving_handlers.py, each in a job process of its own."""

from pathlib import Path

import core_fixtures
import psutil
from core_fixtures import environment

from devaria.common.timing import Timing
from devaria.execution.keeper import has_keeper
from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

NO_LIMITS = JobLimits(timeout_sec=60.0, memory_bytes=float("inf"))


def is_gone(pid):
    """Whether a process has ended; in a container, nobody may have waited for it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def job_pid(process):
    """Return the process in which a job's code runs. On Linux, it is the child of its keeper."""
    keeper = psutil.Process(process._process.pid)
    return keeper.children()[0].pid if has_keeper() else keeper.pid


class HandlerRuns:
    """Runs one handler, as a runner does."""

    def __init__(self):
        self.progress = []
        self.process = None
        self.timing = Timing()

    def start(self, handler, **variables):
        """Start the process ahead of its job."""
        handlers = [f"test=misbehaving_handlers:{handler}"]
        self.process = JobProcess(Wakeup(), environment(**variables), handlers, timing=self.timing)

    def run(self, handler, limits=NO_LIMITS, why_stop=lambda: None, **params):
        """Run a handler; the outcome must come, and the process be gone."""
        if self.process is None:
            self.start(handler)
        self.process.hand_over("test", params, lambda *news: self.progress.append(news))
        outcome = self.process.wait(limits, why_stop)
        assert self.process._process.returncode is not None
        assert not Path(self.process.scratch).exists()
        return outcome

    def error(self, handler, **options):
        """Run a handler that fails; return the error and the console."""
        outcome = self.run(handler, **options)
        assert outcome.output_data is None
        assert outcome.error_message
        return outcome.error_message, outcome.console_output

    def close(self):
        """End the process, and wait for the threads that read from it."""
        if self.process is None:
            return
        self.process.close()
        self.process.console.end()
        for reader in (self.process._console_reader, self.process._event_reader):
            reader.join(core_fixtures.PATIENCE_SEC)
            assert not reader.is_alive()
