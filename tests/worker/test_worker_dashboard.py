"""Access to the dashboard, and the actions on its pages."""

import html
import re

import pytest
import requests

from devaria.worker.dashboard.job_forms import ParamForm
from devaria.worker.keys import WorkerKeys
from devaria.worker.server import LocalWorker
from devaria.worker.store.database import DatabaseBusy

STATES = ("pending", "claimed", "in_progress", "completed", "failed")
PAGES = ("/dashboard", "/dashboard/submit", "/dashboard/jobs/{}", "/dashboard/jobs/{}/console")
STATIC = ("dashboard.css", "dashboard.js", "icon.svg")
FORMS = {
    "declared": {
        "name": ParamForm(required=True, description="Whom to <i>greet</i>."),
        "count": ParamForm("integer", default=3),
        "scale": ParamForm("number"),
        "loud": ParamForm("boolean"),
        "options": ParamForm("object", default={"a": [1]}),
    }
}


@pytest.fixture
def worker(tmp_path, keys, clock):
    """A running local worker that knows the parameters of one job type."""
    options = {"port": 0, "keys": keys, "rate_limit": False, "clock": clock, "job_forms": FORMS}
    with LocalWorker(tmp_path / "worker", **options) as worker:
        yield worker


# Who gets in


def test_the_link_begins_a_session_and_leads_to_an_address_without_the_token(worker, http):
    """The token does not stay in the address bar, and no other page sees it."""
    reply = http.get(worker.dashboard_url, timeout=10, allow_redirects=False)
    path = reply.headers["Location"]
    assert reply.status_code == 303
    assert re.fullmatch("/dashboard/[0-9a-f]{32}", path)
    cookie = reply.headers["Set-Cookie"]
    assert {"HttpOnly", f"Path={path}", "SameSite=Strict"} <= set(cookie.split("; "))
    page = http.get(worker.url + path, timeout=10)
    assert page.status_code == 200
    assert worker.keys.dashboard_token not in page.text


def test_the_cookie_is_no_token_and_each_session_has_its_own(worker):
    """What a program on another port could get hold of opens nothing but one session."""
    seen = set()
    for _ in range(2):
        reply = requests.get(worker.dashboard_url, timeout=10, allow_redirects=False)
        (value,) = reply.cookies.values()
        seen.add(value)
        link = worker.dashboard_url.replace(worker.keys.dashboard_token, value)
        assert requests.get(link, timeout=10).status_code == 403
    assert len(seen | {worker.keys.dashboard_token}) == 3


def test_the_cookie_goes_only_to_paths_of_its_session(browser):
    """A program on another port of the host knows no such path, so it never gets the cookie."""
    port_of_another = 1
    for path in ("/", "/dashboard", "/dashboard/jobs", f"/dashboard/{'0' * 32}/submit"):
        asked = requests.Request("GET", f"http://127.0.0.1:{port_of_another}{path}")
        assert "Cookie" not in browser.http.prepare_request(asked).headers


def test_logging_out_ends_the_session_and_no_other(browser, worker):
    """A copy of the cookie is of no use after that."""
    cookies = browser.http.cookies.copy()
    with requests.Session() as other:
        home = other.get(worker.dashboard_url, timeout=10).url
        reply = browser.post("/dashboard/logout")
        assert reply.status_code == 200
        assert "Logged out" in reply.text
        assert list(browser.http.cookies) == []
        again = requests.get(worker.url + browser.home, cookies=cookies, timeout=10)
        assert again.status_code == 403
        assert other.get(home, timeout=10).status_code == 200


def test_a_session_outlives_a_restart_but_not_the_admin_key(tmp_path, keys, http):
    """An open page goes on; a new admin key, and so a new link, ends all sessions."""
    port = 0
    for admin, expected in ((keys.admin, 200), (keys.admin, 200), ("new-key", 403)):
        used = WorkerKeys(keys.runner, keys.submit, admin)
        with LocalWorker(tmp_path, port=port, keys=used) as worker:
            if port == 0:
                home = http.get(worker.dashboard_url, timeout=10).url
            port = int(worker.url.rpartition(":")[2])
            assert http.get(home, timeout=10).status_code == expected


def test_a_session_ends_after_thirty_days(browser, clock):
    """A browser that was left open somewhere loses its access."""
    clock.now += 30 * 24 * 3600 * 1000 - 1
    assert browser.get("/dashboard").ok
    clock.now += 1
    assert browser.get("/dashboard").status_code == 403


def test_without_token_or_cookie_there_is_no_page(worker, stores):
    """Every page, file and action is refused, with a text that says where the link is."""
    job_id = stores.job("failed")
    actions = ["submit", f"jobs/{job_id}/rerun", f"jobs/{job_id}/delete"]
    asked = [
        ("GET", page.format(job_id).replace("/dashboard", f"/dashboard/{'0' * 32}"))
        for page in PAGES
    ]
    asked += [("GET", "/dashboard")]
    asked += [("GET", f"/dashboard/{'0' * 32}/static/{name}") for name in STATIC]
    asked += [("POST", f"/dashboard/{'0' * 32}/{action}") for action in actions]
    for method, path in asked:
        headers = {"Origin": worker.url}
        reply = requests.request(method, worker.url + path, headers=headers, timeout=10)
        assert (reply.status_code, reply.headers["Content-Type"]) == (
            403,
            "text/plain; charset=utf-8",
        )
        assert (
            reply.text
            == "Open the dashboard with the link that the worker printed when it started.\n"
        )
    assert stores.jobs.get(job_id)["status"] == "failed"


@pytest.mark.parametrize("token", ["", "0" * 32, "é", "%ff", "\x00"])
def test_a_wrong_token_is_refused(worker, token):
    """A user who opens an old link sees that it is old."""
    url = worker.url + "/dashboard"
    assert requests.get(url, params={"token": token}, timeout=10).status_code == 403


@pytest.mark.parametrize("cookie", ["", "0" * 32, "é", '"'])
def test_a_wrong_cookie_is_refused(worker, browser, cookie):
    """The value of the cookie is compared with the secret; having a cookie is not enough."""
    (name,) = browser.http.cookies.keys()
    headers = {"Cookie": f"{name}={cookie}".encode()}
    reply = requests.get(worker.url + browser.home, headers=headers, timeout=10)
    assert reply.status_code == 403


def test_api_keys_open_no_page(worker, browser):
    """The dashboard is for browsers, which hold no keys."""
    for key in ("runner-key", "submit-key", "admin-key"):
        headers = {"Authorization": f"Bearer {key}"}
        for path in ("/dashboard", browser.home):
            assert not requests.get(worker.url + path, headers=headers, timeout=10).ok


def test_the_token_lasts_as_long_as_the_admin_key_and_does_not_reveal_it(tmp_path):
    """A bookmark and an open page outlive a restart; another data directory has another token."""
    first, again = (WorkerKeys.load_or_create(tmp_path / "a", {}) for _ in range(2))
    other = WorkerKeys.load_or_create(tmp_path / "b", {})
    assert first.dashboard_token == again.dashboard_token != other.dashboard_token
    assert re.fullmatch("[0-9a-f]{32}", first.dashboard_token)
    assert first.dashboard_token not in first.admin


def test_two_workers_of_one_host_do_not_take_each_others_cookie(tmp_path, http, clock):
    """Browsers send cookies to every port of a host."""
    with LocalWorker(tmp_path / "a", port=0, clock=clock) as one, LocalWorker(
        tmp_path / "b", port=0, clock=clock
    ) as two:
        homes = [http.get(worker.dashboard_url, timeout=10).url for worker in (one, two)]
        assert len(http.cookies) == 2
        assert all(http.get(home, timeout=10).ok for home in homes)


def test_pages_allow_nothing_from_elsewhere_and_are_not_kept(browser, stores):
    """Scripts, styles, frames and forms are this worker's own; no other page may frame these."""
    job_id = stores.job("completed")
    for path in [page.format(job_id) for page in PAGES] + ["/dashboard/jobs/none"]:
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_pages_name_no_address_but_their_own(browser, stores):
    """No script, style, font or image is asked for elsewhere, and nothing is inline."""
    text = browser.get("/dashboard").text + browser.get("/dashboard/submit").text
    text += browser.get(f"/dashboard/jobs/{stores.job('failed')}").text
    assert "//" not in text.replace("<!doctype html>", "")
    assert not re.search(r"<style|<script(?! src=)| style=| on\w+=", text)


@pytest.mark.parametrize(
    ("name", "kind"), [*zip(STATIC, ("text/css", "text/javascript", "image/svg+xml"))]
)
def test_static_files_have_their_types(browser, name, kind):
    """With nosniff a script of another type does not run."""
    reply = browser.get(f"/dashboard/static/{name}")
    assert reply.headers["Content-Type"].split(";")[0] == kind


@pytest.mark.parametrize("name", ["x.css", "..%2Fapp.py", "..%5Capp.py", "%2e%2e"])
def test_no_other_file_is_served(browser, name):
    """Only the three known names are served; paths are not."""
    assert browser.get(f"/dashboard/static/{name}").status_code == 404


# Actions


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "http://127.0.0.1", "http://["]
)
@pytest.mark.parametrize("action", ["submit", "jobs/{}/rerun", "jobs/{}/delete"])
def test_actions_of_other_origins_are_refused(browser, stores, action, origin):
    """A page of another origin, such as another port of this host, cannot do anything."""
    job_id = stores.job("failed")
    path = "/dashboard/" + action.format(job_id)
    reply = browser.post(path, origin, job_type="t2", params="{}")
    assert (reply.status_code, reply.headers["Content-Type"]) == (403, "text/plain; charset=utf-8")
    assert [job["job_id"] for job in stores.jobs.newest(9)] == [job_id]


@pytest.mark.parametrize("action", ["rerun", "delete"])
def test_actions_do_not_answer_get(browser, stores, action):
    """A link or an image changes nothing."""
    job_id = stores.job("failed")
    assert browser.get(f"/dashboard/jobs/{job_id}/{action}").status_code == 404
    assert stores.jobs.get(job_id)


@pytest.mark.parametrize("status", STATES)
def test_rerun_submits_the_same_job_anew_in_every_state(browser, stores, status):
    """The answer redirects to a new, pending job of the same type and parameters."""
    params = {"b": 1, "a": ["é", {"x": None}]}
    job_id = stores.job(status, "typ/é", params)
    reply = browser.post(f"/dashboard/jobs/{job_id}/rerun")
    (job,) = stores.jobs.newest(9)
    assert (job["status"], job["job_type"]) == ("pending", "typ/é")
    assert stores.jobs.find("typ/é", params) == job
    assert job["job_id"] != job_id
    assert reply.status_code == 303
    assert reply.headers["Location"] == f"{browser.home}/jobs/{job['job_id']}"


def test_a_rerun_never_loses_the_job(browser, stores, monkeypatch):
    """It is one statement: the database cannot become busy after a deletion."""
    real = type(stores.jobs._database).execute
    writes = []

    def second_is_busy(database, statement, *parameters):
        if "INTO jobs" in statement or "FROM jobs WHERE job_id = ?" in statement[:40]:
            if statement.startswith(("DELETE", "INSERT", "REPLACE")):
                writes.append(statement)
            if len(writes) > 1:
                raise DatabaseBusy
        return real(database, statement, *parameters)

    job_id = stores.job("failed")
    monkeypatch.setattr(type(stores.jobs._database), "execute", second_is_busy)
    browser.post(f"/dashboard/jobs/{job_id}/rerun")
    assert len(stores.jobs.newest(9)) == 1


@pytest.mark.parametrize("status", STATES)
def test_delete_deletes_in_every_state(browser, stores, status):
    """The answer redirects to the overview."""
    reply = browser.post(f"/dashboard/jobs/{stores.job(status)}/delete")
    assert (reply.status_code, reply.headers["Location"]) == (303, browser.home)
    assert stores.jobs.newest(9) == []


def test_pages_and_actions_of_a_deleted_job(browser):
    """Another user deleted the job: the page and rerun say so, and delete still succeeds."""
    for reply in (browser.get("/dashboard/jobs/x"), browser.post("/dashboard/jobs/x/rerun")):
        assert (reply.status_code, "No such job" in reply.text) == (404, True)
    assert browser.get("/dashboard/jobs/x/console").status_code == 404
    assert browser.post("/dashboard/jobs/x/delete").status_code == 303


def test_submitting_json_leads_to_the_job(browser, stores):
    """A known job is shown, and the page says that it is not a new one."""
    for known in ("", "?known=1"):
        reply = browser.post("/dashboard/submit", job_type="t", params='{"a": 1.0}')
        (job,) = stores.jobs.newest(9)
        assert reply.status_code == 303
        assert reply.headers["Location"] == f"{browser.home}/jobs/{job['job_id']}{known}"
    assert job["input_params"] == '{"a":1}'


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"job_type": "t", "params": "{"}, "Expecting property name"),
        ({"job_type": "t", "params": "1"}, "input_params must be an object"),
        ({"job_type": "t", "params": "[" * 4_001}, "nested deeper than 4000"),
        ({"job_type": "", "params": "{}"}, "job_type must be a non-empty string"),
        ({"job_type": "t", "params": '{"a": "' + "x" * 102_400 + '"}'}, "exceeds size limit"),
        ({"job_type": "declared", "param-name": " "}, "name is required"),
        ({"job_type": "declared", "param-name": "a", "param-count": "1.5"}, "count must be an int"),
        ({"job_type": "declared", "param-name": "a", "param-scale": "true"}, "scale must be a num"),
        ({"job_type": "declared", "param-name": "a", "param-options": "{"}, "options is not valid"),
    ],
)
def test_a_wrong_submission_shows_the_reason_and_the_input(browser, stores, fields, problem):
    """The form keeps what the user typed."""
    reply = browser.post("/dashboard/submit", **fields)
    assert reply.status_code == 400
    text = html.unescape(reply.text)
    assert problem in text
    assert all(value in text for value in fields.values())
    assert stores.jobs.newest(9) == []


def test_declared_parameters_make_a_form(browser, stores):
    """Fields have labels, defaults and descriptions; an empty field gives no parameter."""
    page = browser.get("/dashboard/submit", params={"type": "declared"}).text
    for name in FORMS["declared"]:
        assert f'for="param-{name}"' in page
    assert "Whom to &lt;i&gt;greet&lt;/i&gt;." in page
    assert 'value="3"' in page
    assert "{&#34;a&#34;:[1]}" in page
    fields = {"param-name": "Ada", "param-count": "7", "param-scale": "", "param-options": "[1]"}
    assert browser.post("/dashboard/submit", job_type="declared", **fields).status_code == 303
    expected = {"name": "Ada", "count": 7, "loud": False, "options": [1]}
    assert stores.jobs.find("declared", expected)


def test_a_cached_result_whose_figure_is_gone_is_submitted_afresh(browser, stores):
    """The dashboard treats an expired figure as the submitters' route does, in one step."""
    gone = '{"figpack_url":"http://127.0.0.1:9/figures/f/index.html"}'
    job_id = stores.job("completed", output=gone)
    reply = browser.post("/dashboard/submit", job_type="t", params="{}")
    (job,) = stores.jobs.newest(9)
    assert job["job_id"] != job_id
    assert reply.headers["Location"] == f"{browser.home}/jobs/{job['job_id']}"
