"""Every interval, time-out and number of tries of a runner and of a worker's client."""

from dataclasses import dataclass, replace
from typing import Tuple


@dataclass(frozen=True)
class Timing:
    """Intervals, time-outs and numbers of tries. All times are in seconds.

    The defaults are right for use; tests pass shorter ones.

    Args:
        heartbeat_sec: Between two heartbeats if there is no news.
        heartbeat_gap_sec: Between two heartbeats if there is news. 2 s make 30 heartbeats a minute;
            the worker allows 120.
        heartbeat_stop_sec: For a heartbeat that is on its way when its job has been reported.
        heartbeat_timeout_sec: The longest silence of the worker at a heartbeat, so that one that
            hangs does not delay the next.
        heartbeat_answer_sec: For a whole heartbeat, from the connection to the end of its answer.
        connect_timeout_sec: For a connection to the worker.
        read_timeout_sec: The longest silence of the worker at each other request.
        answer_sec: For a whole request. A worker that lets requests wait has the time of the wait
            too.
        unwanted_answer_sec: For an answer that is on its way when the operator ends the runner.
        last_report_sec: For a report, after the operator's first signal.
        backoff_base_sec: The first wait after a failed request.
        backoff_factor: Each further one may be longer by this factor. With twice as long ones, four
            of ten bad answers would make a few waits of minutes.
        backoff_max_sec: The longest of these waits.
        claim_failures: How often a claim of one job fails before it is set aside. While other
            requests fail too, it is three times as often.
        set_aside_sec: For how long it is set aside.
        unauthorized_wait_sec: After the worker refused the key (401). People rotate keys, so the
            key is tried again.
        start_patience_sec: For a worker that does not answer at the start of the runner.
        orphans_patience_sec: For the list of claimed jobs that the journal does not have.
        start_retry_sec: Between two tries to start the process of a claimed job.
        relay_wait_sec: How long NotifyRelay may hold a request until a message comes. It allows 55.
        relay_gap_sec: Between two of its answers that end the runner's sleep, or that come at once.
        preload_after_sec: From the end of a job to the start of a process that imports ahead. If
            the next job comes within this time, that process would be in its way.
        preload_sec: For these imports.
        preloaded_age_sec: A process that has imported ahead is replaced after this time. If its
            imports failed, they are tried again after this time.
        preloaded_check_sec: How often such a process looks whether a file has changed. It also
            looks when it gets a job.
        job_watch_sec: The longest time between two checks of a job's limits.
        job_exit_sec: For a job process to end, after its outcome or after SIGTERM.
        job_drain_sec: For the last output of a job process that has ended.
        status_sec: Between two writes of the status file.
        repeats_for_less_console: How often a report is sent before its console is shortened, if the
            worker answers 500 to the report but accepts the job's heartbeats.
        repeats_for_loss: How often it is sent before the result is given up. With the back-off
            between them, 33 tries take about 40 minutes.
        poll_wait_sec: How long a worker that lets polls wait is asked to wait for a job.
        wait_grace_sec: For the answer of such a worker when the time of a wait is over.
        least_wait_sec: A shorter wait for a job is not worth its requests.
        least_gap_sec: From one request to the next if a worker that lets requests wait has answered
            at once, and without news.
        cut_wait_sec: How long a shorter wait is asked for, or none, after something between runner
            and worker has cut waits.
        look_wait_sec: How long such a worker is asked to wait for a change of a job.
        first_looks_sec: A submitter's first waits between two looks at a job: short, for quick
            jobs.
        look_sec: Its later waits, within the 60 looks a minute that the worker allows.
        patience_sec: How long a submitter repeats a request that the worker does not answer.
        patience_max_wait_sec: The longest wait between two of these requests.
    """

    heartbeat_sec: float = 30.0
    heartbeat_gap_sec: float = 2.0
    heartbeat_stop_sec: float = 0.5
    heartbeat_timeout_sec: float = 10.0
    heartbeat_answer_sec: float = 15.0
    connect_timeout_sec: float = 10.0
    read_timeout_sec: float = 30.0
    answer_sec: float = 60.0
    unwanted_answer_sec: float = 1.5
    last_report_sec: float = 60.0
    backoff_base_sec: float = 0.25
    backoff_factor: float = 1.5
    backoff_max_sec: float = 300.0
    claim_failures: int = 3
    set_aside_sec: float = 600.0
    unauthorized_wait_sec: float = 300.0
    start_patience_sec: float = 300.0
    orphans_patience_sec: float = 60.0
    start_retry_sec: float = 30.0
    relay_wait_sec: float = 55.0
    relay_gap_sec: float = 1.0
    preload_after_sec: float = 0.25
    preload_sec: float = 60.0
    preloaded_age_sec: float = 3600.0
    preloaded_check_sec: float = 300.0
    job_watch_sec: float = 1.0
    job_exit_sec: float = 10.0
    job_drain_sec: float = 1.0
    status_sec: float = 5.0
    repeats_for_less_console: int = 5
    repeats_for_loss: int = 33
    poll_wait_sec: int = 25
    wait_grace_sec: float = 10.0
    least_wait_sec: int = 5
    least_gap_sec: float = 1.0
    cut_wait_sec: float = 3600.0
    look_wait_sec: int = 10
    first_looks_sec: Tuple[float, ...] = (0.25, 0.25, 0.5, 1.0)
    look_sec: float = 2.0
    patience_sec: float = 300.0
    patience_max_wait_sec: float = 30.0

    @property
    def of_heartbeats(self) -> "Timing":
        """The same times, but every request has a heartbeat's."""
        return replace(
            self,
            read_timeout_sec=self.heartbeat_timeout_sec,
            answer_sec=self.heartbeat_answer_sec,
        )
