"""The dashboard in a real browser: layout, updates, actions, and requests only to the worker."""

import contextlib
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
import requests
from browser import CHROMIUM, FLAGS
from waiting import wait_until

from devaria.worker.dashboard.job_forms import ParamForm
from devaria.worker.server import LocalWorker
from devaria.worker.store import news
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.runners import RunnerStore

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

NOW = 1_800_000_000_000
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'\x1b[31m\x00\u202e"
FORMS = {
    "hello_world": {
        "name": ParamForm(required=True, description="Whom to greet."),
        "processing_time": ParamForm("number", default=3),
        "loud": ParamForm("boolean"),
    }
}

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
BACKGROUNDS = {"light": "rgb(245, 246, 248)", "dark": "rgb(16, 19, 23)"}

#: The texts whose contrast with what lies behind them is under 4.5, the bound of WCAG 2 AA.
LOW_CONTRAST = """() => {
    const channels = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => {
        const [r, g, b] = channels(color).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return (channels(color)[3] ?? 1) > 0 ? color : behind(element.parentElement);
    };
    const contrast = (element) => {
        const pair = [light(getComputedStyle(element).color), light(behind(element))];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    };
    const holdsText = (e) => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    return [...document.body.querySelectorAll("*")]
        .filter(e => holdsText(e) && e.checkVisibility() && contrast(e) < 4.5)
        .map(e => `${e.textContent.trim()}: ${contrast(e).toFixed(2)}`);
}"""

#: A figure that says of which origin its scripts are, that its data came, and what it could read.
FIGURE = """<!doctype html><title>figure</title><p id="said"></p><script>
    const ask = (url, options) => fetch(url, options).then(r => r.text(), () => "refused");
    Promise.all([ask("data.txt"), ask("/dashboard", {credentials: "include"})]).then(answers => {
        document.getElementById("said").textContent = [origin, ...answers].join(" | ");
    });
</script>"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start the machine's Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: `apt-get install chromium`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


class Lab:
    """A local worker and its stores; a test uses them as submitter and runner."""

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.worker = LocalWorker(data_dir, port=port, clock=lambda: NOW, job_forms=FORMS)
        self.worker.start()
        assert self.worker._database is not None
        self.jobs = JobStore(self.worker._database, lambda: NOW)
        self.runners = RunnerStore(self.worker._database, lambda: NOW)
        self.runner_id = self.runners.register("lab-workstation", ["hello_world", EVIL])

    @property
    def waiting(self) -> int:
        """How many requests wait for a change."""
        assert self.worker._database is not None
        waits = self.worker._database.news.waits
        with waits.lock:
            return len(waits._line)

    def submit(self, job_type: str = "hello_world", **params: Any) -> str:
        """Submit a job; return its id."""
        return str(self.jobs.submit(job_type, params)[0]["job_id"])

    def claimed(self, job_type: str = "hello_world", **params: Any) -> str:
        """Submit a job and claim it; return its id."""
        job_id = self.submit(job_type, **params)
        assert self.jobs.claim(job_id, self.runner_id)
        return job_id

    def beat(self, job_id: str, current: float, console: str) -> None:
        """Send a heartbeat of a job that has 100 steps."""
        assert self.jobs.heartbeat(job_id, self.runner_id, current, 100, console)

    def finish(self, job_id: str, console: str = "", **outcome: str) -> None:
        """End a job."""
        assert self.jobs.finish(job_id, self.runner_id, console, **outcome)

    def upload(self, files: Dict[str, str]) -> str:
        """Upload a figure; return its URL."""
        key = {"X-API-Key": self.worker.keys.runner}
        api = self.worker.figpack_api_url

        def post(path: str, body: Any) -> Any:
            return requests.post(api + path, json=body, headers=key, timeout=10).json()

        url = str(post("/figures/create", {})["figure"]["figureUrl"])
        declared = [{"relativePath": name, "size": len(text)} for name, text in files.items()]
        for signed in post("/upload", {"figureUrl": url, "files": declared})["signedUrls"]:
            text = files[signed["relativePath"]]
            assert requests.put(signed["signedUrl"], text.encode(), timeout=10).ok
        return url


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a lab without jobs."""
    lab = Lab(tmp_path / "worker")
    yield lab
    lab.worker.stop()


def _console_faults(page: Any, message: Any) -> List[str]:
    """Return what the browser's console says, except that the page itself was 400 or 404."""
    is_status = message.text.startswith("Failed to load resource: the server responded")
    expected = is_status and message.location["url"] == page.url
    return [] if expected else [f"{message.type}: {message.text}"]


@pytest.fixture
def open_page(chromium: Any, lab: Lab) -> Iterator[Callable[..., Any]]:
    """Open a page; at the end, check that it had no errors and sent requests only to the lab."""
    contexts, faults = [], []

    def opened(path: str = "/dashboard") -> Any:
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.clock.install()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: faults.append(request.url))
        page.on("console", lambda message: faults.extend(_console_faults(page, message)))
        page.goto(lab.worker.dashboard_url)
        assert re.fullmatch(lab.worker.url + "/dashboard/[0-9a-f]{32}", page.url)
        page.home = page.url
        if path != "/dashboard":
            page.goto(path.replace("/dashboard", page.home, 1))
        page.faults = faults
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not fault.startswith(lab.worker.url + "/")] == []


def _fill(lab: Lab) -> List[str]:
    """Make jobs in every state, some with hostile texts; return the paths of all pages."""
    long = "https://data.example/" + "very-long-path/" * 20 + "file.nwb"
    ids = [lab.submit(name="Ada"), lab.claimed(nwb_url=long), lab.claimed("b" * 200)]
    lab.beat(ids[-1], 37, "".join(f"line {n} of the console\n" for n in range(100)))
    for job_type in (EVIL, "t"):
        for outcome in ({"error": EVIL + long}, {"output": '{"figpack_url":"javascript:1"}'}):
            ids.append(lab.claimed(job_type, n=len(ids), evil=EVIL))
            lab.finish(ids[-1], EVIL * 50, **outcome)
    lab.runners.register(EVIL * 5, [EVIL])
    pages = ["", "?status=failed", "/submit", "/submit?type=hello_world", "/jobs/none"]
    return [f"/dashboard{page}" for page in pages] + [f"/dashboard/jobs/{one}" for one in ids]


def test_pages_fit_have_contrast_and_run_no_foreign_script(
    lab: Lab, open_page: Callable[..., Any]
) -> None:
    """At both widths and in both colour schemes, pages fit, have contrast, and run no script."""
    paths = _fill(lab)
    page = open_page()
    page.on("dialog", lambda dialog: page.faults.append(f"dialog: {dialog.message}"))
    for path in paths:
        page.goto(path.replace("/dashboard", page.home, 1))
        assert page.locator("main script, main img").count() == 0
        for width in (400, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(FITS), (path, width)
        for scheme, background in BACKGROUNDS.items():
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
            assert page.evaluate(LOW_CONTRAST) == [], (path, scheme)


def test_fields_and_tables_have_names(lab: Lab, open_page: Callable[..., Any]) -> None:
    """A screen reader finds labels, column headers, headings and a text for each status."""
    job_id = lab.claimed(name="Ada")
    lab.beat(job_id, 37, "")
    page = open_page()
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        jobs = page.get_by_role("region", name="Jobs").get_by_role("table")
        headers = ["Status", "Type", "Parameters", "Progress", "Runner", "Age"]
        assert jobs.get_by_role("columnheader").all_text_contents() == headers
        expect(jobs.get_by_role("row").nth(1)).to_contain_text("in progress")
        expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("value", "37.0")
    page.goto(page.home + "/submit?type=hello_world")
    expect(page.get_by_label("name string, required")).to_have_attribute("required", "")
    expect(page.get_by_label("loud")).not_to_be_checked()


def _soon(page: Any) -> None:
    """Make the page's next refresh due now; a refresh in progress is completed first."""
    page.clock.fast_forward(1000)


def _distance_to_end(page: Any) -> float:
    """Return the distance from the scroll position of the console to its end, in pixels."""
    script = "box => box.scrollHeight - box.scrollTop - box.clientHeight"
    return float(page.locator(".console").evaluate(script))


def test_a_job_is_followed_to_its_end(lab: Lab, open_page: Callable[..., Any]) -> None:
    """Console, progress and status update by themselves; the console scrolls only from its end."""
    job_id = lab.claimed(name="Ada")
    lines = [f"line {n}\n" for n in range(500)]
    lab.beat(job_id, 10, "".join(lines[:200]))
    page = open_page(f"/dashboard/jobs/{job_id}")
    console, bar = page.locator(".console"), page.get_by_role("progressbar")
    expect(bar).to_have_attribute("value", "10.0")
    assert _distance_to_end(page) < 8

    lab.beat(job_id, 60, "".join(lines[:300]))
    _soon(page)
    expect(console).to_contain_text("line 299")
    expect(bar).to_have_attribute("value", "60.0")
    assert _distance_to_end(page) < 8

    console.evaluate("box => { box.scrollTop = 500; }")
    page.get_by_role("button", name="Rerun").focus()
    lab.beat(job_id, 80, "".join(lines[:400]))
    _soon(page)
    expect(console).to_contain_text("line 399")
    assert console.evaluate("box => box.scrollTop") == 500
    expect(page.get_by_role("button", name="Rerun")).to_be_focused()

    lab.finish(job_id, "".join(lines), output='{"greeting":"Hello, Ada"}')
    _soon(page)
    expect(page.get_by_role("region", name="Result")).to_contain_text('"greeting": "Hello, Ada"')
    expect(page.get_by_role("region", name="State")).to_contain_text("completed")
    assert page.title().startswith("hello_world, completed")
    expect(bar).to_have_count(0)


def test_the_overview_follows_the_queue(lab: Lab, open_page: Callable[..., Any]) -> None:
    """New jobs, new states and new runners appear by themselves."""
    page = open_page()
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    job_id = lab.submit(name="Ada")
    _soon(page)
    row = page.get_by_role("region", name="Jobs").get_by_role("row").nth(1)
    expect(row).to_contain_text("pending")
    assert lab.jobs.claim(job_id, lab.runner_id)
    lab.beat(job_id, 25, "")
    lab.runners.register("second", [])
    _soon(page)
    expect(row).to_contain_text("25 %")
    expect(page.get_by_role("link", name="1 in progress")).to_be_visible()
    expect(page.get_by_role("region", name="Runners")).to_contain_text("second")


def test_a_change_is_shown_at_once(lab: Lab, open_page: Callable[..., Any]) -> None:
    """The worker holds the page's request until there is one; no timer is needed."""
    job_id = lab.claimed(name="Ada")
    overview, page = open_page(), open_page(f"/dashboard/jobs/{job_id}")
    wait_until(lambda: lab.waiting == 2)
    for each in (overview, page):
        each.clock.pause_at(each.evaluate("Date.now()") / 1000 + 1)
    lab.beat(job_id, 60, "working\n")
    expect(overview.get_by_role("region", name="Jobs")).to_contain_text("60 %")
    expect(page.locator(".console")).to_contain_text("working")


def test_ages_count_on_between_changes(lab: Lab, open_page: Callable[..., Any]) -> None:
    """A page of which nothing changes still says how long ago things were."""
    lab.submit(name="Ada")
    page = open_page()
    wait_until(lambda: lab.waiting == 1)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    age = page.get_by_role("region", name="Jobs").get_by_role("time")
    page.clock.run_for(150_000)
    expect(age).to_have_text("2 min")


def test_a_hidden_page_does_not_wait(lab: Lab, open_page: Callable[..., Any]) -> None:
    """A browser opens few connections to one host, and other pages need them."""
    page = open_page()
    wait_until(lambda: lab.waiting == 1)
    page.evaluate(
        "window.isHidden = false; Object.defineProperty(document, 'hidden', {get: () => isHidden})"
    )
    page.evaluate("isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(lambda: lab.waiting == 0)
    lab.submit(name="Eve")
    page.evaluate("isHidden = false")
    _soon(page)
    expect(page.get_by_role("region", name="Jobs")).to_contain_text("Eve")
    page.faults[:] = [fault for fault in page.faults if "ERR_ABORTED" not in fault]


def test_a_page_that_cannot_wait_asks_every_second(
    lab: Lab, open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many pages are open: this one shows the change with its next request."""
    monkeypatch.setattr(news, "MAX_READERS", 0)
    page = open_page()
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    lab.submit(name="Eve")
    _soon(page)
    expect(page.get_by_role("region", name="Jobs")).to_contain_text("Eve")
    assert lab.waiting == 0


def test_submit_rerun_and_delete_by_hand(lab: Lab, open_page: Callable[..., Any]) -> None:
    """A user submits a job by form and as JSON, reruns it, and deletes it after a question."""
    page = open_page()
    page.get_by_role("link", name="Submit a job").click()
    page.get_by_role("textbox", name="Job type").fill("other")
    page.get_by_label("Parameters").fill('{"a": [1')
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("Expecting")
    page.get_by_label("Parameters").fill('{"a": [1]}')
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="other")).to_be_visible()

    page.get_by_role("link", name="Submit a job").click()
    page.get_by_role("link", name="hello_world").click()
    page.get_by_label("name string, required").fill("Ada")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("region", name="Parameters")).to_contain_text('"name": "Ada"')
    first = page.url.rpartition("/")[2]
    assert lab.jobs.find("hello_world", {"name": "Ada", "processing_time": 3, "loud": False})

    assert lab.jobs.claim(first, lab.runner_id)
    lab.finish(first, error="it broke")
    _soon(page)
    expect(page.get_by_role("region", name="Error")).to_contain_text("it broke")
    page.get_by_role("button", name="Rerun").click()
    expect(page.get_by_role("region", name="State")).to_contain_text("pending")
    second = page.url.rpartition("/")[2]
    assert second != first
    assert lab.jobs.get(first) is None

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete").click()
    assert lab.jobs.get(second) is not None
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("region", name="Jobs")).to_contain_text("other")
    assert lab.jobs.get(second) is None


def test_an_open_page_shows_that_its_job_was_deleted(
    lab: Lab, open_page: Callable[..., Any]
) -> None:
    """An open page shows that its job was deleted."""
    job_id = lab.submit()
    page = open_page(f"/dashboard/jobs/{job_id}")
    lab.jobs.delete(job_id)
    _soon(page)
    expect(page.get_by_role("heading", name="No such job")).to_be_visible()


def test_an_embedded_figure_cannot_read_the_dashboard(
    lab: Lab, open_page: Callable[..., Any]
) -> None:
    """A figure's scripts read its own data but no page of the dashboard, in a frame or not."""
    url = lab.upload({"index.html": FIGURE, "data.txt": "spikes"})
    job_id = lab.claimed()
    lab.beat(job_id, 1, "")
    page = open_page(f"/dashboard/jobs/{job_id}")
    lab.finish(job_id, output=f'{{"figpack_url":"{url}"}}')
    _soon(page)
    framed = page.frame_locator("iframe").locator("#said")
    expect(framed).to_have_text("null | spikes | refused")
    opened = page.context.new_page()
    opened.goto(url)
    expect(opened.locator("#said")).to_have_text("null | spikes | refused")
    # That is how the browser reports what it refused.
    page.faults[:] = [fault for fault in page.faults if "/dashboard'" not in fault]
    page.faults[:] = [fault for fault in page.faults if "net::ERR_FAILED" not in fault]


def test_a_page_says_when_the_worker_is_away(
    lab: Lab, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """The page continues when the worker is back, without a new login."""
    page = open_page()
    expect(page.get_by_role("status")).to_have_count(0)
    port = int(lab.worker.url.rpartition(":")[2])
    lab.worker.stop()
    _soon(page)
    expect(page.get_by_role("status")).to_contain_text("No answer")
    with contextlib.ExitStack() as stack:
        again = Lab(tmp_path / "worker", port)
        stack.callback(again.worker.stop)
        again.submit(name="Eve")
        _soon(page)
        expect(page.get_by_role("region", name="Jobs")).to_contain_text("Eve")
        expect(page.get_by_role("status")).to_have_count(0)
        page.goto("about:blank")
    page.faults[:] = [fault for fault in page.faults if not re.search("ERR_CONN|blank", fault)]
