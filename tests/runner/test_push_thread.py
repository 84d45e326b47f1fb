"""The thread that learns of new jobs: what it tells the runner, and its end."""

import queue
import threading

import pytest
from relay_server import RelayServer
from scripted_server import PATIENCE_SEC
from waiting import wait_until

from devaria.client.relay import RelaySession
from devaria.common.config import RunnerSettings
from devaria.common.timing import Timing
from devaria.runner.push import Push


@pytest.fixture
def relay():
    """Run a NotifyRelay server."""
    with RelayServer() as running:
        yield running


def threads():
    """Name the threads of this process that subscribe, or limit the time of a long poll."""
    return [
        each.name
        for each in threading.enumerate()
        if each.name == "push" or isinstance(each, threading.Timer)
    ]


def test_from_a_message_to_the_end(relay, tmp_path):
    """News stay news until they are forgotten; the end leaves no thread, also of a long poll."""
    settings = RunnerSettings("https://w", "r-key", tmp_path, environ=relay.environ)
    wake_ups: queue.Queue[None] = queue.Queue()
    push = Push(settings, lambda: wake_ups.put(None))
    push.start(["hello_world"])
    push.start(["hello_world"])  # the runner starts anew after a shortage
    assert threads().count("push") == 1
    relay.wait_for_poll()
    assert not push.has_news()
    relay.new_job()
    wake_ups.get(timeout=PATIENCE_SEC)
    assert push.has_news()
    assert push.has_news()
    push.forget()
    assert not push.has_news()
    relay.wait_for_poll()
    assert threads()
    push.end()
    wait_until(lambda: not threads(), "the end of the thread", PATIENCE_SEC)  # not 55 s
    assert wake_ups.empty()


def test_an_unexpected_error_does_not_end_the_thread(relay, tmp_path, monkeypatch, caplog):
    """A lack of memory, for example. It is logged once, and the next message is heard."""
    real, failures = RelaySession.messages, [MemoryError("one"), MemoryError("two")]

    def messages(self, wait_sec):
        if failures:
            raise failures.pop()
        return real(self, wait_sec)

    monkeypatch.setattr(RelaySession, "messages", messages)
    timing = Timing(backoff_base_sec=0.01)
    settings = RunnerSettings("https://w", "r-key", tmp_path, environ=relay.environ, timing=timing)
    push = Push(settings, lambda: None)
    push.start(["hello_world"])
    relay.wait_for_poll()
    relay.new_job()
    wait_until(push.has_news, "news")
    push.end()
    wait_until(lambda: not threads(), "the end of the thread", PATIENCE_SEC)
    assert caplog.text.count("push fails, trying again") == 1
    assert "MemoryError" in caplog.text


def test_without_the_variables_there_is_no_thread(tmp_path):
    """Nor anything to end."""
    push = Push(RunnerSettings("https://w", "r-key", tmp_path), lambda: None)
    push.start(["hello_world"])
    assert not threads()
    push.end()


def test_a_further_start_makes_no_further_thread(relay, tmp_path):
    """The runner begins anew after each shortage of memory."""
    push = Push(RunnerSettings("https://w", "r-key", tmp_path, environ=relay.environ), lambda: None)
    push.start(["hello_world"])
    relay.wait_for_poll()
    push.start(["hello_world"])
    try:
        assert threads().count("push") == 1
    finally:
        push.end()
    wait_until(lambda: not threads(), "the end of the thread", PATIENCE_SEC)
