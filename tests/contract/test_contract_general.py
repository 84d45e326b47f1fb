"""The contract's section "General"."""

import gzip
import json
import re
import time
import uuid

import pytest

MISSING = {"error": "Missing Authorization header"}
FORM = {"error": "Invalid Authorization header format. Use: Bearer <token>"}
WRONG = {"error": "Invalid API key"}
NOT_FOUND = {"error": "Not found"}
NO_RUNNER_ID = {"error": "Missing X-Runner-ID header"}
NO_ID = "00000000-0000-4000-8000-000000000000"
REGISTRATION = {"name": "contract-test", "capabilities": []}
JOB_ROUTES = [
    ("GET", "/api/runner/jobs/available"),
    ("POST", f"/api/runner/jobs/{NO_ID}/claim"),
    ("POST", f"/api/runner/jobs/{NO_ID}/heartbeat"),
    ("POST", f"/api/runner/jobs/{NO_ID}/complete"),
    ("POST", f"/api/runner/jobs/{NO_ID}/error"),
]
RUNNER_ROUTES = [
    ("POST", "/api/runner/register"),
    ("GET", "/api/runner/verify"),
    *JOB_ROUTES,
]
SUBMIT_ROUTES = [
    ("POST", "/api/jobs/submit"),
    ("POST", "/api/jobs/check"),
    ("GET", f"/api/jobs/{NO_ID}"),
]
ADMIN_ROUTES = [
    ("GET", "/api/admin/jobs"),
    ("DELETE", f"/api/admin/jobs/{NO_ID}"),
    ("POST", "/api/admin/jobs/batch-delete"),
    ("GET", "/api/admin/runners"),
    ("GET", f"/api/admin/runners/{NO_ID}"),
    ("GET", "/api/admin/stats"),
]
GUARDED = RUNNER_ROUTES + SUBMIT_ROUTES + ADMIN_ROUTES
# Routes of each level that do no harm, with the body that they need.
LEVELS = {
    "submit": ("POST", "/api/jobs/check", {"job_type": "no-such-type", "input_params": {}}),
    "runner": ("GET", "/api/runner/jobs/available", None),
    "admin": ("GET", "/api/admin/stats", None),
}


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_request_without_authorization_is_401(api, method, path):
    """Every guarded route says that the header is missing."""
    reply = api.anyone(method, path, headers={"X-Runner-ID": NO_ID})
    assert (reply.status_code, reply.json()) == (401, MISSING)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_wrong_key_is_401(api, method, path):
    """Every guarded route refuses an unknown key."""
    headers = {"X-Runner-ID": NO_ID, "Authorization": "Bearer wrong"}
    reply = api.anyone(method, path, headers=headers)
    assert (reply.status_code, reply.json()) == (401, WRONG)


@pytest.mark.parametrize("form", ["bearer {}", "BEARER {}", "{}", "Basic {}", "Bearer  {}"])
def test_another_form_of_authorization_is_401(api, form):
    """The scheme is case-sensitive and followed by exactly one space."""
    headers = {"Authorization": form.format(api.keys.admin)}
    reply = api.anyone.get("/api/admin/stats", headers=headers)
    assert (reply.status_code, reply.json()) == (401, FORM)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("key", ["submit", "runner", "admin"])
def test_each_level_takes_its_own_key_and_admin_the_runner_key_too(api, level, key):
    """A key opens only its own level, but the runner key opens the admin routes too."""
    method, path, body = LEVELS[level]
    headers = {"Authorization": f"Bearer {getattr(api.keys, key)}", "X-Runner-ID": NO_ID}
    reply = api.anyone(method, path, json=body, headers=headers)
    allowed = key == level or (level, key) == ("admin", "runner")
    assert reply.status_code == (200 if allowed else 401)
    assert allowed or reply.json() == WRONG


@pytest.mark.parametrize(("method", "path"), JOB_ROUTES)
@pytest.mark.parametrize("headers", [{}, {"X-Runner-ID": ""}])
def test_job_routes_want_the_runner_id_before_the_key(api, method, path, headers):
    """Without a runner id these routes answer 400 even to a caller without a key."""
    reply = api.anyone(method, path, headers=headers)
    assert (reply.status_code, reply.json()) == (400, NO_RUNNER_ID)


def test_verify_wants_the_key_before_the_runner_id(api):
    """Verify without both answers 401, and with the key alone 400."""
    assert api.anyone.get("/api/runner/verify").status_code == 401
    reply = api.keyholder.get("/api/runner/verify")
    assert (reply.status_code, reply.json()) == (400, NO_RUNNER_ID)


def test_times_are_epoch_milliseconds_and_ids_are_uuids(api):
    """A new job has the current time in milliseconds and a UUID."""
    job = api.look(api.new_job())
    assert str(uuid.UUID(job["job_id"])) == job["job_id"]
    assert str(uuid.UUID(api.register())) != job["job_id"]
    for name in ("created_at", "updated_at"):
        assert isinstance(job[name], int)
        assert abs(job[name] / 1000 - time.time()) < 300


def test_content_type_and_extra_fields_are_ignored(api):
    """A body is read as JSON under any Content-Type, and extra fields are ignored."""
    body = json.dumps({**REGISTRATION, "extra": [1, {"deep": None}]})
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "image/png"):
        headers = {"Content-Type": content_type}
        reply = api.keyholder.post("/api/runner/register", data=body, headers=headers)
        assert reply.status_code == 201


def test_chunked_bodies_are_accepted(api):
    """A body sent in chunks is read to its end."""
    text = json.dumps(REGISTRATION).encode()
    chunks = (text[i : i + 7] for i in range(0, len(text), 7))
    assert api.keyholder.post("/api/runner/register", data=chunks).status_code == 201


def test_compressed_bodies_are_500(api):
    """A gzip body is not JSON, whatever its header says."""
    body = gzip.compress(json.dumps(REGISTRATION).encode())
    headers = {"Content-Encoding": "gzip"}
    reply = api.keyholder.post("/api/runner/register", data=body, headers=headers)
    assert reply.status_code == 500


def test_keep_alive_works(api):
    """Two requests of one session travel over one connection."""
    adapter = api.session.get_adapter(api.url)
    api.anyone.get("/health")
    pool = adapter.poolmanager.connection_from_url(api.url)
    before = pool.num_connections
    for _ in range(5):
        assert api.anyone.get("/health").status_code == 200
    assert pool.num_connections == before


@pytest.mark.parametrize("path", ["/api/admin/stats", "/no/such/path", f"/api/admin/jobs/{NO_ID}"])
def test_cors_headers_are_on_every_answer_but_health(api, path):
    """Web pages of any origin may read what the worker answers, errors included."""
    headers = api.anyone.get(path, headers={"Origin": "https://example.org"}).headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, OPTIONS"
    assert headers["Access-Control-Allow-Headers"] == "Content-Type, Authorization, X-Runner-ID"


@pytest.mark.parametrize("path", ["/", "/health"])
def test_health_has_no_cors_headers(api, path):
    """Health answers without CORS headers."""
    assert "Access-Control-Allow-Origin" not in api.anyone.get(path).headers


@pytest.mark.parametrize("path", [path for _, path in GUARDED] + ["/no/such/path", "/api/jobs/"])
def test_options_is_204_on_any_path(api, path):
    """A preflight needs neither key nor runner id nor a route."""
    reply = api.anyone("OPTIONS", path)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/", "/health"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_health_answers_any_method(api, method, path):
    """Health is 200 by any method, OPTIONS included, without a key."""
    reply = api.anyone(method, path)
    assert reply.status_code == 200
    assert reply.json()["status"] == "ok"
    assert reply.json()["service"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/no/such/path"),
        ("GET", "/api"),
        ("GET", "/api/jobs/submit/"),
        ("GET", "/health/"),
        ("POST", "/api/runner/register/"),
        ("GET", "/api/runner/jobs/available/"),
        ("GET", "/api/admin/stats/"),
        ("GET", "/api//admin/stats"),
        ("GET", "/api/runner/register"),
        ("POST", "/api/runner/verify"),
        ("GET", f"/api/runner/jobs/{NO_ID}/claim"),
        ("PUT", f"/api/runner/jobs/{NO_ID}/heartbeat"),
        ("PUT", "/api/jobs/submit"),
        ("DELETE", f"/api/jobs/{NO_ID}"),
        ("POST", "/api/admin/stats"),
        ("PATCH", f"/api/admin/jobs/{NO_ID}"),
    ],
)
def test_unknown_path_wrong_method_or_trailing_slash_is_404(api, method, path):
    """An unknown route is answered with 404, never with a redirect or 405."""
    headers = {"Authorization": f"Bearer {api.keys.runner}", "X-Runner-ID": NO_ID}
    reply = api.anyone(method, path, headers=headers, allow_redirects=False)
    assert (reply.status_code, reply.json()) == (404, NOT_FOUND)


def _json_routes(api, job_id, runner):
    return {
        "register": (api.keyholder, "/api/runner/register"),
        "heartbeat": (runner, f"/api/runner/jobs/{job_id}/heartbeat"),
        "complete": (runner, f"/api/runner/jobs/{job_id}/complete"),
        "error": (runner, f"/api/runner/jobs/{job_id}/error"),
        "submit": (api.submitter, "/api/jobs/submit"),
        "check": (api.submitter, "/api/jobs/check"),
        "batch-delete": (api.admin, "/api/admin/jobs/batch-delete"),
    }


@pytest.mark.parametrize(
    "route", ["register", "heartbeat", "complete", "error", "submit", "check", "batch-delete"]
)
@pytest.mark.parametrize(
    "body", [b"{", b"", b"null", b'{"a": NaN}', b"{'a': 1}", b'{"a": 1,}', b"nonsense"]
)
def test_malformed_json_is_500(local_api, route, body):
    """A body that is not JSON, empty or null is a server error that names the failed action."""
    caller, path = _json_routes(local_api, NO_ID, local_api.runner(NO_ID))[route]
    reply = caller.post(path, data=body)
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("Failed to ")
    assert reply.json()["details"]


def test_malformed_json_is_500_and_leaves_the_job_claimed(api):
    """A report that is not JSON changes nothing."""
    job_id, runner = api.claimed_job()
    for route in ("heartbeat", "complete", "error"):
        reply = runner.post(f"/api/runner/jobs/{job_id}/{route}", data=b"{")
        assert reply.status_code == 500
        assert reply.json()["error"].startswith("Failed to ")
    assert api.look(job_id)["status"] == "claimed"


@pytest.mark.parametrize("depth", [200_000, 5_000, 1_500, 801, 800, 501, 499, 400, 50])
def test_deep_json_is_refused_at_once_or_never(local_api, job_type, depth):
    """A nested value is either refused when it is submitted, or shown by every route."""
    params = b'{"v":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}"
    body = b'{"job_type":"%s","input_params":%s}' % (job_type.encode(), params)
    reply = local_api.submitter.post("/api/jobs/submit", data=body)
    assert reply.status_code == (500 if depth > 1_500 else 201)
    runner = local_api.runner(local_api.register())
    shown = runner.get(f"/api/runner/jobs/available?types[]={job_type}")
    assert shown.status_code == 200
    # Python cannot parse what is so deep.
    ids = re.findall('"job_id":"([^"]+)"', shown.text)
    assert len(ids) == int(depth <= 1_500)
    for job_id in ids:
        assert params in shown.content
        assert params in local_api.anyone.get(f"/api/admin/jobs/{job_id}").content
        path = f"/api/runner/jobs/{job_id}"
        assert runner.post(f"{path}/claim").status_code == 200
        report = b'{"output_data":%s,"console_output":""}' % params
        assert runner.post(f"{path}/complete", data=report).status_code == 200
        assert local_api.submitter.post("/api/jobs/submit", data=body).status_code == 200
        assert params in local_api.submitter.get(f"/api/jobs/{job_id}").content


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'"\xff\xfea\xc3"', "\ufffd\ufffda\ufffd"),
        (b"9007199254740993", 9007199254740992),
        (b"12345678901234567890123", 1.2345678901234568e22),
        (b"1e999", None),
        (b"-1e999", None),
        (b"1.0", 1),
        (b"0.1", 0.1),
        (b'"\\ud83d\\ude00 \xc3\xa9 \\u00e9"', "\U0001f600 é é"),
    ],
)
def test_values_become_what_javascript_makes_of_them(api, job_type, sent, kept):
    """Invalid UTF-8 is replaced, big integers are rounded, infinite ones become null."""
    body = b'{"job_type":"%s","input_params":{"v":%s}}' % (job_type.encode(), sent)
    reply = api.submitter.post("/api/jobs/submit", data=body)
    api.job_ids.append(reply.json()["job_id"])
    value = api.look(reply.json()["job_id"])["input_params"]["v"]
    assert (value, type(value)) == (kept, type(kept))
