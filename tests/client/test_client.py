"""Every route of the worker: what is asked, and what its answers become."""

import threading

import pytest
from core_fixtures import KEY, RUNNER_ID, job
from scripted_server import Answer, as_json, hang, ok

from devaria.client.client import WorkerClient
from devaria.client.models import Job, JobState, fault_of_params
from devaria.common import errors
from devaria.common.timing import Timing

JOB_PATH = "/api/runner/jobs/j-1"
DONE = ok(success=True, message="ok")


@pytest.fixture
def client(server):
    """A client of the scripted server."""
    made = WorkerClient(server.url, KEY, Timing(heartbeat_timeout_sec=0.2))
    yield made
    made.close()


def sent(server):
    """Return the one request that came."""
    assert len(server.requests) == 1
    request = server.requests[0]
    assert request.headers["authorization"] == f"Bearer {KEY}"
    return request


# --- the runner's routes ---------------------------------------------------------------------


def test_register_sends_name_and_capabilities(server, client):
    """The new id comes back."""
    server.on("POST /api/runner/register", as_json({"runner_id": "r-9", "message": "ok"}, 201))

    assert client.register("runner-here", ("a", "b")) == "r-9"
    assert sent(server).json == {"name": "runner-here", "capabilities": ["a", "b"]}


@pytest.mark.parametrize("answer", [ok(), ok(runner_id=None), ok(runner_id=""), ok(runner_id=5)])
def test_a_registration_without_an_id_is_strange(server, client, answer):
    """A value that is not an id must not be saved as one."""
    server.on("POST /api/runner/register", answer)

    with pytest.raises(errors.StrangeAnswer):
        client.register("runner-here", ["a"])


def test_verify_tells_the_name_of_a_known_runner(server, client):
    """The id travels in its header."""
    server.on("GET /api/runner/verify", ok(exists=True, runner_name="runner-x", message="ok"))

    assert client.verify(RUNNER_ID) == "runner-x"
    assert sent(server).headers["x-runner-id"] == RUNNER_ID


def test_verify_tells_none_for_an_unknown_runner(server, client):
    """A 404 with `exists` is an answer."""
    server.on("GET /api/runner/verify", as_json({"exists": False, "message": "no"}, 404))

    assert client.verify(RUNNER_ID) is None


@pytest.mark.parametrize("answer", [as_json({"error": "Not found"}, 404), ok(), ok(exists="yes")])
def test_verify_does_not_take_another_service_for_a_worker(server, client, answer):
    """If a missing route meant an unknown runner, the runner would drop its id."""
    server.on("GET /api/runner/verify", answer)

    with pytest.raises(errors.StrangeAnswer):
        client.verify(RUNNER_ID)


def test_available_asks_for_each_type_and_lists_jobs_in_their_order(server, client):
    """The types go as `types[]`, the jobs come as typed values."""
    jobs = [job("j-1", "a", x=1), job("j-2", "b", y=[])]
    server.on("GET /api/runner/jobs/available", ok(jobs=jobs))

    assert client.available(RUNNER_ID, ["a", "b"]).jobs == [
        Job("j-1", "a", {"x": 1}),
        Job("j-2", "b", {"y": []}),
    ]
    request = sent(server)
    assert request.query == [("types[]", "a"), ("types[]", "b")]
    assert request.headers["x-runner-id"] == RUNNER_ID


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "j-0",
        {},
        {"job_id": 5, "job_type": "a", "input_params": {}},
        {"job_id": "j-0", "job_type": None, "input_params": {}},
        {"job_id": "\ud800", "job_type": "a", "input_params": {}},
    ],
)
def test_an_entry_that_is_no_job_does_not_hide_the_others(server, client, entry):
    """The other jobs are listed without it."""
    server.on("GET /api/runner/jobs/available", ok(jobs=[entry, job("j-1")]))

    assert [each.job_id for each in client.available(RUNNER_ID, ["a"]).jobs] == ["j-1"]


@pytest.mark.parametrize("depth", [200, 900, 50_000])
def test_a_job_with_bottomless_parameters_is_listed_with_the_others(server, client, depth):
    """A stranger's `[[[[...` would end Python's recursion. The job can be claimed, but not run."""
    deep = '{"a":' * depth + "1" + "}" * depth
    poison = f'{{"job_id": "j-0", "job_type": "a", "input_params": {{"a": {deep}}}}}'
    good = '{"job_id": "j-1", "job_type": "a", "input_params": {}}'
    body = f'{{"jobs": [{poison}, {good}]}}'.encode()
    server.on("GET /api/runner/jobs/available", Answer(body=body))

    first, second = client.available(RUNNER_ID, ["a"]).jobs
    assert (first.job_id, second.job_id) == ("j-0", "j-1")
    assert "nested more than 200 levels deep" in fault_of_params(first.input_params)
    assert fault_of_params(second.input_params) is None


PARAMETERS = [
    ([1], "they must be an object, not a list"),
    ("text", "they must be an object, not a string"),
    (7, "they must be an object, not a number"),
    (True, "they must be an object, not true or false"),
    (None, "they must be an object, not null"),
    ({"n": 10**400, "text": "\ud800", "\udfff": [1e308]}, None),
]


@pytest.mark.parametrize(("params", "fault"), PARAMETERS)
def test_whatever_a_submitter_sends_is_listed(server, client, params, fault):
    """Jobs that nobody claims would stay at the head of the queue, and hide all others."""
    entry = {"job_id": "j-0", "job_type": "a", "input_params": params, "created_at": "never"}
    server.on("GET /api/runner/jobs/available", ok(jobs=[entry] * 50))

    jobs = client.available(RUNNER_ID, ["a"]).jobs

    assert len(jobs) == 50
    assert fault_of_params(jobs[0].input_params) == fault


def test_a_number_of_a_million_digits_hides_no_job(server, client):
    """Python refuses it, or takes hours for it. JavaScript reads null."""
    number = "-" + "7" * 1_000_000
    entry = f'{{"job_id": "j-0", "job_type": "a", "input_params": {{"n": {number}}}}}'
    server.on("GET /api/runner/jobs/available", Answer(body=f'{{"jobs": [{entry}]}}'.encode()))

    assert client.available(RUNNER_ID, ["a"]).jobs == [Job("j-0", "a", {"n": None})]


@pytest.mark.parametrize("runner_id", ["\ud800", "é", "a\nb", " a", "\x00"])
def test_a_runner_id_that_no_request_can_name_is_strange(server, client, runner_id):
    """Each later request would fail before it is sent."""
    server.on("POST /api/runner/register", ok(runner_id=runner_id))

    with pytest.raises(errors.StrangeAnswer, match="runner_id that cannot be sent"):
        client.register("name", ["a"])


def test_an_orphan_that_no_request_can_name_does_not_hide_the_others(server, client):
    """The jobs of a runner are those that it can ask for."""
    jobs = [{"job_id": "\udc80", "status": "claimed"}, {"job_id": "j-1", "status": "claimed"}]
    server.on("GET /api/admin/runners/*", ok(runner_id=RUNNER_ID, jobs=jobs))

    assert [each.job_id for each in client.jobs_of_runner(RUNNER_ID)] == ["j-1"]


@pytest.mark.parametrize("job", [{}, {"job_id": "j-0"}, {"job_id": None}])
def test_a_claim_answered_with_another_job_is_strange(server, client, job):
    """A server that answers twice would have the runner believe that it has the next job too."""
    server.on("POST /api/runner/jobs/j-1/claim", ok(success=True, job=job))

    with pytest.raises(errors.StrangeAnswer):
        client.claim(RUNNER_ID, "j-1")


@pytest.mark.parametrize("answer", [ok(), ok(jobs=None), ok(jobs={"job_id": "j-1"})])
def test_available_without_a_list_is_strange(server, client, answer):
    """It must not be taken for an empty queue."""
    server.on("GET /api/runner/jobs/available", answer)

    with pytest.raises(errors.StrangeAnswer):
        client.available(RUNNER_ID, ["a"])


def test_a_poll_may_ask_to_wait(server, client):
    """The answer of a worker that heeds it says that it offers its jobs to nobody else."""
    route = "GET /api/runner/jobs/available"
    body = {"jobs": [], "offered_sec": 1.5}
    server.on(route, as_json(body, headers={"Preference-Applied": "wait=9"}))

    assert client.available(RUNNER_ID, ["a"], 9) == ([], True, 1.5)
    assert client.available(RUNNER_ID, ["a"]) == ([], False, None)
    assert [each.headers.get("prefer") for each in server.seen(route)] == ["wait=9", None]


@pytest.mark.parametrize("offered_sec", [0, -1, "1", None, True])
def test_a_time_of_an_offer_that_is_none_is_ignored(server, client, offered_sec):
    """The list is then like that of any other worker."""
    body = {"jobs": [], "offered_sec": offered_sec}
    answer = as_json(body, headers={"Preference-Applied": "wait=9"})
    server.on("GET /api/runner/jobs/available", answer)

    assert client.available(RUNNER_ID, ["a"], 9) == ([], True, None)


def test_claim_names_the_job_and_the_runner(server, client):
    """The job is in the path, the runner in a header."""
    server.on(f"POST {JOB_PATH}/claim", ok(success=True, message="ok", job=job("j-1", "a", x=1)))

    client.claim(RUNNER_ID, "j-1")

    assert sent(server).headers["x-runner-id"] == RUNNER_ID


def test_a_lost_claim_says_so(server, client):
    """409 is the race that another runner won."""
    server.on(f"POST {JOB_PATH}/claim", as_json({"success": False, "message": "taken"}, 409))

    with pytest.raises(errors.ClaimLost):
        client.claim(RUNNER_ID, "j-1")


def test_a_claim_without_a_job_may_have_acted(server, client):
    """It is a transient error, after which the runner checks who has the job."""
    server.on(f"POST {JOB_PATH}/claim", ok(success=True))

    with pytest.raises(errors.TransientError):
        client.claim(RUNNER_ID, "j-1")


@pytest.mark.parametrize("progress", [(3, 10), (0.5, 1.5), (None, None)])
def test_heartbeat_sends_all_three_fields(server, client, progress):
    """The worker fails on a missing one, so unknown progress goes as null."""
    server.on(f"POST {JOB_PATH}/heartbeat", DONE)

    client.heartbeat(RUNNER_ID, "j-1", *progress, "console")

    assert sent(server).json == {
        "progress_current": progress[0],
        "progress_total": progress[1],
        "console_output": "console",
    }


def test_a_heartbeat_has_a_time_out_of_its_own(server, client):
    """One that hangs must not hold up the next."""
    server.on(f"POST {JOB_PATH}/heartbeat", hang())

    with pytest.raises(errors.NoAnswer):
        client.heartbeat(RUNNER_ID, "j-1", None, None, "")


def test_complete_sends_result_and_console(server, client):
    """Both fields are sent, even if they are empty."""
    server.on(f"POST {JOB_PATH}/complete", DONE)

    client.complete(RUNNER_ID, "j-1", {"spikes": [1, 2.5]}, "")

    assert sent(server).json == {"output_data": {"spikes": [1, 2.5]}, "console_output": ""}


def test_error_sends_message_and_console(server, client):
    """Both fields are sent."""
    server.on(f"POST {JOB_PATH}/error", DONE)

    client.error(RUNNER_ID, "j-1", "it broke", "last words")

    assert sent(server).json == {"error_message": "it broke", "console_output": "last words"}


REPORTS = {
    "heartbeat": lambda client: client.heartbeat(RUNNER_ID, "j-1", None, None, ""),
    "complete": lambda client: client.complete(RUNNER_ID, "j-1", {}, ""),
    "error": lambda client: client.error(RUNNER_ID, "j-1", "x", ""),
}


@pytest.mark.parametrize("verb", REPORTS)
def test_a_job_that_is_not_ours_is_told_from_a_field_that_is_too_large(server, client, verb):
    """Both are 400, and the runner reacts to them in opposite ways."""
    server.on(
        f"POST {JOB_PATH}/{verb}",
        as_json({"success": False, "message": "Job not found or not claimed by this runner"}, 400),
        as_json({"error": "Console output exceeds size limit of 1048576 bytes"}, 400),
    )

    with pytest.raises(errors.NotOurs):
        REPORTS[verb](client)
    with pytest.raises(errors.TooLarge):
        REPORTS[verb](client)


@pytest.mark.parametrize("verb", REPORTS)
def test_success_false_is_no_acknowledgement(server, client, verb):
    """A request with such an answer (200) must be sent again."""
    server.on(f"POST {JOB_PATH}/{verb}", ok(success=False, message="try again"))

    with pytest.raises(errors.TransientError):
        REPORTS[verb](client)


def test_a_job_id_cannot_reach_another_route(server, client):
    """Whatever the id holds is quoted into one part of the path."""
    server.on("POST *", DONE)

    client.complete(RUNNER_ID, "../../admin/x?y#z é", {}, "")

    assert sent(server).path == ("/api/runner/jobs/..%2F..%2Fadmin%2Fx%3Fy%23z%20%C3%A9/complete")


# --- the submitter's routes ------------------------------------------------------------------


def test_submit_returns_the_new_job(server, client):
    """A 201 means a new job that is pending."""
    answer = {"job_id": "j-1", "status": "pending", "message": "Job submitted"}
    server.on("POST /api/jobs/submit", as_json(answer, 201))

    assert client.submit("a", {"x": 1}) == JobState("j-1", "pending")
    assert sent(server).json == {"job_type": "a", "input_params": {"x": 1}}


def test_submit_of_a_known_job_tells_its_error(server, client):
    """A failure is kept for every later submission."""
    server.on("POST /api/jobs/submit", ok(job_id="j-1", status="failed", error="no such file"))

    assert client.submit("a", {}) == JobState("j-1", "failed", error="no such file")


def test_check_tells_a_known_job_or_none(server, client):
    """The check creates no job."""
    server.on(
        "POST /api/jobs/check",
        ok(exists=False, message="unknown"),
        ok(exists=True, job_id="j-1", status="claimed", message="known"),
    )

    assert client.check("a", {}) is None
    assert client.check("a", {}) == JobState("j-1", "claimed")


def test_job_tells_progress_and_result(server, client):
    """The submitter's view of a job that goes on, and of one that ended."""
    server.on(
        "GET /api/jobs/j-1",
        ok(job_id="j-1", job_type="a", status="in_progress", progress={"current": 2, "total": 8}),
        ok(
            job_id="j-1",
            job_type="a",
            status="completed",
            result={"output_data": {"y": 2}, "console_output": "text"},
        ),
    )

    assert client.job("j-1") == JobState("j-1", "in_progress", 2, 8, job_type="a")
    ended = client.job("j-1")
    assert ended == JobState(
        "j-1", "completed", output_data={"y": 2}, console_output="text", job_type="a"
    )
    assert ended.is_final


@pytest.mark.parametrize("ask", [WorkerClient.job, WorkerClient.job_detail])
def test_a_deleted_job_is_not_found(server, client, ask):
    """It is told apart from a missing route."""
    server.on("GET /api/*jobs/j-1", as_json({"error": "Job not found"}, 404))

    with pytest.raises(errors.NotFound):
        ask(client, "j-1")


def test_job_detail_tells_claim_and_outcome(server, client):
    """It has the job's runner and its outcome."""
    server.on(
        "GET /api/admin/jobs/j-1",
        ok(
            job_id="j-1",
            job_type="a",
            status="failed",
            input_params={"x": 1},
            claimed_by=RUNNER_ID,
            console_output="text",
            error_message="it broke",
        ),
    )

    assert client.job_detail("j-1") == JobState(
        "j-1",
        "failed",
        console_output="text",
        error="it broke",
        claimed_by=RUNNER_ID,
        job_type="a",
        input_params={"x": 1},
    )


def test_jobs_of_runner_lists_states(server, client):
    """A runner finds its orphans with its own key."""
    jobs = [
        {"job_id": "j-1", "job_type": "a", "status": "claimed"},
        {"job_id": "j-2", "job_type": "b", "status": "completed"},
    ]
    server.on(f"GET /api/admin/runners/{RUNNER_ID}", ok(runner_id=RUNNER_ID, jobs=jobs))

    assert client.jobs_of_runner(RUNNER_ID) == [
        JobState("j-1", "claimed", job_type="a"),
        JobState("j-2", "completed", job_type="b"),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"progress": [1, 2]},
        {"progress": "half"},
        {"progress": {"current": "1", "total": True}},
        {"result": "text"},
        {"result": [1]},
        {"result": {"output_data": None, "console_output": 5}},
        {"error": {"text": "x"}},
        {"claimed_by": 7, "job_type": 7},
    ],
)
def test_fields_of_the_wrong_type_are_as_good_as_absent(server, client, fields):
    """A worker of another version must not end a runner by an AttributeError."""
    server.on("GET /api/jobs/j-1", ok(job_id="j-1", status="pending", **fields))

    assert client.job("j-1") == JobState("j-1", "pending")


@pytest.mark.parametrize("answer", [ok(status="pending"), ok(job_id="j-1"), ok(job_id=1, status=2)])
def test_a_job_without_id_or_status_is_strange(server, client, answer):
    """Without them the answer is of no use."""
    server.on("GET /api/jobs/j-1", answer)

    with pytest.raises(errors.StrangeAnswer):
        client.job("j-1")


def test_a_job_is_claimed_by_whom_its_detail_names(server, client):
    """It is claimed only until it ends. A deleted job is not claimed."""

    def detail(status, claimed_by=RUNNER_ID):
        return ok(job_id="j-1", status=status, claimed_by=claimed_by)

    server.on(
        "GET /api/admin/jobs/j-1",
        detail("in_progress"),
        detail("claimed"),
        detail("in_progress", "another"),
        detail("completed"),
        as_json({"error": "Job not found"}, 404),
    )

    told = [client.is_claimed_by(RUNNER_ID, "j-1") for _ in range(5)]
    assert told == [True, True, False, False, False]


# --- the session -----------------------------------------------------------------------------


def test_without_a_runner_id_no_header_is_sent(server):
    """Submitters have no runner id."""
    server.on("GET /api/jobs/j-1", ok(job_id="j-1", status="pending"))
    client = WorkerClient(server.url, KEY)

    client.job("j-1")
    client.close()

    assert "x-runner-id" not in sent(server).headers


def test_another_client_has_settings_alike_and_a_connection_of_its_own(server, client):
    """A session is for one thread, so the heartbeat's thread gets another one."""
    server.on("GET /api/runner/verify", ok(exists=True, runner_name="runner-x"))
    other = client.another()

    client.verify(RUNNER_ID)
    thread = threading.Thread(target=other.verify, args=(RUNNER_ID,))
    thread.start()
    thread.join()
    other.close()

    first, second = server.seen("GET /api/runner/verify")
    assert first.headers == second.headers
    assert first.connection != second.connection
