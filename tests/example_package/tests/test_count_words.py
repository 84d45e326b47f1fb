"""Tests of the example handler, as its developer would write them."""

from count_words import CountWords

from devaria.testing import local_worker, run_handler


def test_counts_the_words_of_a_page() -> None:
    """The health page has at least one word, and the console says what is read."""
    with local_worker() as worker:
        outcome = run_handler(CountWords, {"url": f"{worker.url}/health"})
    assert outcome.result is not None
    assert outcome.result["words"] >= 1
    assert "Reading http" in outcome.console
    assert outcome.heartbeats[-1].progress_current == 1


def test_refuses_what_is_not_a_url() -> None:
    """A wrong parameter is the submitter's error, and the message says so."""
    outcome = run_handler(CountWords, {"url": "file:///etc/passwd"})
    assert outcome.error == "Invalid parameters: url must be an http or https URL"
