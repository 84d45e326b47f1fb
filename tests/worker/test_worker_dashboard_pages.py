"""The contents of the dashboard's pages; texts from strangers are shown, never executed."""

import json
import re

import pytest
import requests

from devaria.worker.server import LocalWorker

STATES = ("pending", "claimed", "in_progress", "completed", "failed")
EVIL = "<script>alert('x')</script>\"'&<b>\x1b[31m\x00\x7f\u202egnp.exe"


def test_the_overview_shows_counts_jobs_and_runners(browser, stores, clock):
    """Each status shows its count and links to the list of its jobs."""
    ids = {status: stores.job(status, f"type-{status}") for status in STATES}
    clock.now += 6 * 60_000
    page = browser.get("/dashboard").text
    for status in STATES:
        assert re.search(rf'status={status}"\s*>\s*<b>1</b>', page)
        assert f"{browser.home}/jobs/{ids[status]}" in page
        listed = browser.get("/dashboard", params={"status": status}).text
        assert [one for one in STATES if ids[one] in listed] == [status]
    assert '<progress max="100" value="25.0"' in page
    assert re.findall(r">(\d+ min ago)</time>", page) == ["6 min ago"] * 4
    assert page.count(">not active<") == 4
    assert page.count(">6 min</time>") == 5


def test_an_unknown_status_shows_all(browser, stores):
    """An unknown value in the query is ignored."""
    job_id = stores.job("failed")
    assert job_id in browser.get("/dashboard", params={"status": "x' OR 1"}).text


def test_the_overview_is_bounded(browser, stores):
    """Of 101 jobs, the newest 100 are listed, and the page says so."""
    ids = [stores.job("pending", params={"n": n}) for n in range(101)]
    page = browser.get("/dashboard").text
    assert "The newest 100 of 101." in page
    assert ids[0] not in page
    assert ids[1] in page


def test_everything_that_strangers_write_is_text(browser, stores, worker):
    """Tags, quotes, control characters and direction marks are shown as text."""
    runner_id = stores.runners.register(EVIL, [EVIL, {EVIL: 1}, 7])
    output = {EVIL: [EVIL], "figpack_url": "javascript:alert(1)//" + EVIL}
    body = {"job_type": EVIL, "input_params": {EVIL: EVIL}}
    bearer = {"Authorization": "Bearer submit-key"}
    submit = worker.url + "/api/jobs/submit"
    ids = []
    for outcome in ({"output": json.dumps(output)}, {"error": EVIL}):
        body["input_params"]["n"] = len(ids)
        job_id = requests.post(submit, json=body, headers=bearer, timeout=10).json()["job_id"]
        stores.jobs.claim(job_id, runner_id)
        stores.jobs.heartbeat(job_id, runner_id, 1, 2, EVIL)
        ids.append(job_id)
        paths = ["/dashboard", f"/dashboard/jobs/{job_id}"]
        running = [browser.get(path).text for path in paths]
        assert stores.jobs.finish(job_id, runner_id, EVIL, **outcome)
        for page in running + [browser.get(path).text for path in paths]:
            assert "\\x1b[31m\\x00\\x7f\\u202egnp.exe" in page
            assert "&lt;script&gt;alert(" in page
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", page)
            assert not re.search(r"<script>|<b>\\|href=.?javascript", page)
    wrong = browser.post("/dashboard/submit", job_type=EVIL, params=EVIL)
    assert wrong.status_code == 400
    assert not re.search(r"<script>|[\x00-\x08\x0b-\x1f]", wrong.text)
    console = browser.get(f"/dashboard/jobs/{ids[0]}/console")
    assert (console.text, console.headers["Content-Type"]) == (EVIL, "text/plain; charset=utf-8")


def test_half_a_character_in_a_parameter_is_shown_as_its_escape(browser, stores):
    """A lone surrogate is valid JSON, and cannot be sent as UTF-8."""
    job_id = stores.job("completed", params={"a": "\ud800"}, output='"\\udfff"')
    page = browser.get(f"/dashboard/jobs/{job_id}")
    assert page.status_code == 200
    assert "\\ud800" in page.text
    assert "\\udfff" in page.text


def test_the_console_is_shown_as_on_a_terminal_and_from_its_end(browser, stores):
    """An overwritten line shows its last state; a link leads to the whole of a long console."""
    job_id = stores.job("in_progress", console="10 %\r20 %\r\nnext\r")
    assert ">20 %\nnext</pre>" in browser.get(f"/dashboard/jobs/{job_id}").text
    long = "first\n" + "x" * 60_000 + "\nlast"
    job_id = stores.job("completed", "long", console=long)
    page = browser.get(f"/dashboard/jobs/{job_id}").text
    assert "all of it, as text" in page
    assert "first" not in page
    assert "x\nlast</pre>" in page
    assert browser.get(f"/dashboard/jobs/{job_id}/console").text == long


@pytest.mark.parametrize("items", [1, 40_000])
def test_a_deeply_nested_result_is_shown(browser, stores, items):
    """A value that would be mostly indentation is shown as compact JSON."""
    output = "[" * 490 + ",".join("1" * items) + "]" * 490
    page = browser.get(f"/dashboard/jobs/{stores.job('completed', output=output)}")
    assert page.status_code == 200
    assert len(page.text) < 1_500_000


@pytest.mark.parametrize(
    ("current", "total", "value"),
    [(0, 4, "0.0"), (9, 4, "100.0"), (-1, 4, "0.0"), (1e308, 1e-308, "100.0"), (1, 0, None)],
)
def test_unusual_progress_is_drawn_within_its_bar(browser, stores, current, total, value):
    """A runner may report any two numbers."""
    job_id = stores.job("claimed")
    runner_id = stores.jobs.get(job_id)["claimed_by"]
    stores.jobs.heartbeat(job_id, runner_id, current, total, "")
    shown = re.findall('<progress max="100" value="(.*?)"', browser.get("/dashboard").text)
    assert shown == ([] if value is None else [value])


def _uploaded_figure(worker, http):
    """Upload a figure; return its URL."""
    headers = {"X-API-Key": "runner-key"}
    create = worker.figpack_api_url + "/figures/create"
    figure = http.post(create, json={}, headers=headers, timeout=10).json()["figure"]
    files = [{"relativePath": "index.html", "size": 2}]
    body = {"figureUrl": figure["figureUrl"], "files": files}
    upload = worker.figpack_api_url + "/upload"
    (signed,) = http.post(upload, json=body, headers=headers, timeout=10).json()["signedUrls"]
    assert http.put(signed["signedUrl"], b"hi", timeout=10).ok
    return figure["figureUrl"]


def test_only_figures_of_this_worker_are_embedded(worker, browser, stores, http):
    """Other figures are links without a referrer, and only to http and https."""
    own = _uploaded_figure(worker, http)
    path = own[len(worker.url) :]
    urls = [own, "https://elsewhere.example/f/index.html", "javascript:x", "http://[", "data:,x"]
    # Under a name of a stranger's choice the figure is still this worker's, and opened here.
    urls.append("https://evil.example" + path)
    output = json.dumps([{"figpack_url": url} for url in urls])
    page = browser.get(f"/dashboard/jobs/{stores.job('completed', output=output)}").text
    frame = f'<iframe src="{path}" title="Figure" sandbox="allow-scripts allow-downloads"'
    assert page.count("<iframe") == page.count(frame) == 2
    links = re.findall(r'<a href="([^"]*)" target="_blank" rel="noopener noreferrer">', page)
    assert links == [path, urls[1], path]


def test_figures_are_served_in_a_sandbox(worker, http):
    """Scripts in a figure that is opened directly cannot use the dashboard's cookie."""
    policy = http.get(_uploaded_figure(worker, http), timeout=10).headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy


def test_folders_in_the_current_directory_are_not_used(tmp_path, monkeypatch, worker):
    """A `templates` or `static` folder in the current directory is ignored."""
    for name in ("templates", "static"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "overview.html").write_text("other")
    monkeypatch.chdir(tmp_path)
    with LocalWorker(tmp_path / "w2", port=0, keys=worker.keys) as second:
        assert requests.get(second.dashboard_url, timeout=10).text != "other"
        assert requests.get(second.url + "/static/overview.html", timeout=10).status_code == 404


def test_unknown_paths_below_the_dashboard_are_answered_as_everywhere(browser):
    """The answer is the contract's 404, also for a trailing slash."""
    for path in ("/dashboard/", "/dashboard/x", "/dashboard/jobs", "/dashboard/jobs/a/b"):
        reply = browser.get(path)
        assert (reply.status_code, reply.json()) == (404, {"error": "Not found"})
