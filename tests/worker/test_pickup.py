"""Which runner is told of which job, and for how long."""

import threading

import pytest
from waiting import wait_until

from devaria.worker.store import pickup
from devaria.worker.store.news import JobNews
from devaria.worker.store.pickup import (
    ALONE_SEC,
    LISTED,
    SHARED_SEC,
    Pending,
    Pickup,
)

#: No wait lasts so long, and no answer takes so long.
LONG_SEC, BOUND_SEC = 3600, 30


class Queue:
    """A queue of pending jobs, and runners that poll it."""

    def __init__(self):
        self.now = 0.0
        self.news = JobNews()
        self.news.pickup = Pickup(self.news.waits, lambda: self.now)
        self.news.waits.on_sweep = self.news.pickup.end_offers
        self.pending = []
        self.threads = []
        self.for_sec = 0.0  # for how long the runner told last may claim

    def submit(self, *job_ids, job_type="t"):
        """Add jobs, as the store does: first to the queue, then to the news."""
        for job_id in job_ids:
            self.pending.append(Pending(job_id, job_type))
            self.news.is_pending(job_id, job_type)

    def take(self, job_id):
        """Take a job from the queue, as a claim does."""
        self.pending = [job for job in self.pending if job.job_id != job_id]
        self.news.is_taken(job_id)

    def poll(self, runner_id, wait_sec=0, types=("t",), is_gone=lambda: False):
        """Poll; return what the answer lists."""

        def read(number):
            return [job for job in self.pending if job.job_type in types][:number]

        told = self.news.pickup.jobs_for(runner_id, types, wait_sec, is_gone, read)
        if told is not None:
            self.for_sec = told.for_sec
        return None if told is None else told.job_ids

    def waiting(self, runner_id, **options):
        """Begin a poll that waits; return it once it waits."""
        poll = WaitingPoll(self, runner_id, options)
        self.threads.append(poll)
        poll.start()
        wait_until(lambda: runner_id in self.line or not poll.is_alive())
        return poll

    @property
    def line(self):
        """The ids of the runners that wait, the longest first."""
        with self.news.waits.lock:
            return [poll.runner_id for poll in self.news.waits.of_type(pickup._Poll)]


class WaitingPoll(threading.Thread):
    """A poll in a thread of its own."""

    def __init__(self, queue, runner_id, options):
        super().__init__()
        self.answer = "none yet"
        self.error = None
        self._ask = lambda: queue.poll(runner_id, LONG_SEC, **options)

    def run(self):
        """Poll."""
        try:
            self.answer = self._ask()
        except Exception as error:
            self.error = error

    def listed(self):
        """Return the answer, once it is there."""
        self.join(BOUND_SEC)
        return self.answer


@pytest.fixture
def queue():
    """An empty queue. At the end, all polls that wait end."""
    queue = Queue()
    yield queue
    queue.news.waits.close()
    for thread in queue.threads:
        thread.join(BOUND_SEC)
        assert not thread.is_alive()


def test_a_new_job_wakes_the_runner_that_has_waited_the_longest_and_no_other(queue):
    """The others wait on, and the next jobs are theirs, in their order."""
    first, second, third = [queue.waiting(name) for name in ("r-1", "r-2", "r-3")]
    queue.submit("a")
    assert first.listed() == ["a"]
    assert queue.line == ["r-2", "r-3"]
    queue.submit("b", "c")
    assert second.listed() == ["b"]
    assert third.listed() == ["c"]


def test_only_a_runner_of_its_type_is_woken(queue):
    """A job that no waiting runner can run wakes nobody; the next poll of its type finds it."""
    queue.waiting("r-1", types=("t", "u"))
    other = queue.waiting("r-2", types=("v",))
    queue.submit("a", job_type="w")
    queue.submit("b", job_type="v")
    assert other.listed() == ["b"]
    assert queue.line == ["r-1"]
    assert queue.poll("r-3", types=("w",)) == ["a"]


def test_a_runner_whose_connection_is_closed_is_told_of_nothing(queue):
    """Its wait ends, and the job goes to the next runner at once."""
    gone = threading.Event()
    dead = queue.waiting("r-1", is_gone=gone.is_set)
    alive = queue.waiting("r-2")
    gone.set()
    queue.submit("a")
    assert alive.listed() == ["a"]
    assert dead.listed() == []


def test_a_job_that_its_runner_does_not_claim_is_offered_to_the_next(queue):
    """A runner that died without a trace, or is busy, costs a moment, and not a job."""
    first = queue.waiting("r-1")
    second = queue.waiting("r-2")
    queue.submit("a")
    assert first.listed() == ["a"]
    assert queue.line == ["r-2"]
    queue.now += 2 * SHARED_SEC
    assert second.listed() == ["a"]


def test_a_job_that_was_claimed_is_offered_to_nobody(queue):
    """Its offer ends with the claim."""
    queue.submit("a")
    assert queue.poll("r-1") == ["a"]
    second = queue.waiting("r-2")
    queue.take("a")
    queue.now += 2 * SHARED_SEC
    queue.submit("b")
    assert second.listed() == ["b"]


def test_a_job_deleted_while_a_runner_is_told_of_it_lets_it_wait_on(queue):
    """The runner is not sent away with an empty list."""
    queue.pending = []
    first = queue.waiting("r-1")
    queue.news.is_pending("deleted", "t")  # it is in the queue no more
    queue.news.is_taken("deleted")
    wait_until(lambda: queue.line == ["r-1"])
    queue.submit("a")
    assert first.listed() == ["a"]


def test_many_jobs_at_once_go_to_as_many_runners(queue):
    """No two runners are told of the same job."""
    polls = [queue.waiting(f"r-{n}") for n in range(20)]
    queue.submit(*[f"j-{n}" for n in range(20)])
    told = [job_id for poll in polls for job_id in poll.listed()]
    assert sorted(told) == sorted(f"j-{n}" for n in range(20))


def test_jobs_that_are_about_to_be_told_are_left_to_those_who_wait(queue):
    """They are in the queue a moment before the runners are told of them."""
    first, second = queue.waiting("r-1"), queue.waiting("r-2")
    queue.pending = [Pending(job_id, "t") for job_id in ("a", "b", "c", "d")]
    queue.news.is_pending("a", "t")
    assert first.listed() == ["a"]
    queue.news.is_pending("b", "t")
    assert second.listed()[0] == "b"


def test_runners_share_the_queue(queue):
    """One alone gets a whole list, the oldest first. With others, each gets its part."""
    ids = [f"j-{n:03}" for n in range(120)]
    queue.submit(*ids)
    assert queue.poll("r-1") == ids[:LISTED]
    assert queue.for_sec == ALONE_SEC
    assert queue.poll("r-2") == ids[LISTED : LISTED + 35]  # half of the 70 that are left
    assert queue.for_sec == SHARED_SEC
    assert queue.poll("r-3") == ids[LISTED + 35 : LISTED + 46]
    queue.now += 2 * ALONE_SEC
    assert queue.poll("r-2") == ids[:LISTED]
    assert queue.for_sec == ALONE_SEC


def test_a_runner_that_comes_later_gets_the_end_of_a_whole_list(queue):
    """The first one works at its beginning; so they seldom claim the same job."""
    queue.submit("a", "b", "c", "d")
    assert queue.poll("r-1") == ["a", "b", "c", "d"]
    queue.take("a")
    assert queue.poll("r-2") == ["d"]
    assert queue.poll("r-3") == ["c"]
    queue.now += 2 * SHARED_SEC
    assert queue.poll("r-4") == ["c"]


def test_what_a_runner_leaves_is_for_the_others_when_it_polls_again(queue):
    """A list that is not used up does not keep its jobs from a runner that waits."""
    queue.poll("r-0")
    queue.submit("a", "b", "c", "d")
    assert queue.poll("r-1") == ["a", "b"]
    assert [queue.poll("r-0"), queue.poll("r-3")] == [["c"], ["d"]]
    second = queue.waiting("r-2")
    queue.take("a")
    assert queue.poll("r-1") is None
    assert second.listed() == ["b"]


def test_a_runner_that_polls_again_ends_its_earlier_poll(queue):
    """The first one is of a runner that was killed: its connection may look alive for long."""
    earlier = queue.waiting("r-1")
    later = queue.waiting("r-1")
    assert earlier.listed() == []
    queue.submit("a")
    assert later.listed() == ["a"]


def test_a_poll_that_was_replaced_takes_nothing_from_its_successor(queue):
    """What the runner is told of by its new poll stays offered to it."""
    queue.waiting("r-1")
    queue.submit("a", job_type="u")
    assert queue.poll("r-1", types=("u",)) == ["a"]
    queue.threads[0].listed()
    assert queue.poll("r-2", types=("u",)) is None


def test_a_poll_that_cannot_wait_is_answered_at_once(queue, monkeypatch):
    """Its time is 0, or too many others wait; the caller then lists the queue as ever."""
    monkeypatch.setattr(pickup, "MAX_WAITING", 1)
    assert queue.poll("r-0", 0) is None
    queue.waiting("r-1")
    assert queue.poll("r-2", LONG_SEC) is None
    assert queue.line == ["r-1"]


def test_the_time_of_a_wait_ends(queue):
    """The answer is an empty list, and nothing is left behind."""
    assert queue.poll("r-1", 0.05) == []
    assert queue.line == []


def test_closing_ends_all_waits(queue):
    """Later polls do not wait."""
    polls = [queue.waiting(f"r-{n}") for n in range(5)]
    queue.news.waits.close()
    assert [poll.listed() for poll in polls] == [[]] * 5
    assert queue.poll("r-9", LONG_SEC) is None


def test_a_queue_that_cannot_be_read_ends_the_wait(queue):
    """The error reaches the caller, and the runner does not stay in the line."""
    poll = queue.waiting("r-1")
    queue.pending = None
    with pytest.raises(TypeError):
        queue.poll("r-2")
    queue.news.is_pending("a", "t")
    assert poll.listed() == "none yet"
    assert isinstance(poll.error, TypeError)
    assert queue.line == []
