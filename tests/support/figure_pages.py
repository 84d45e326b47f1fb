"""Figures in the machine's Chromium: what they draw, export, ask for and complain about."""

import contextlib
import functools
import http.server
import threading
from pathlib import Path
from typing import Any, Iterator, List

import pytest
from browser import CHROMIUM, FLAGS

#: Keeps the texts that a page draws on canvases: they do not stand in its elements.
_KEEP_TEXTS = """
    window.drawnTexts = [];
    const fillText = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        window.drawnTexts.push(text);
        return fillText.call(this, text, ...place);
    };
"""


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Run the machine's Chromium with a profile of its own; skip the test if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: `apt-get install chromium`")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 800},
        )
        context.add_init_script(_KEEP_TEXTS)
        yield context
        context.close()


@contextlib.contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """Serve a folder of figures on loopback, and yield its URL."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class OpenFigure:
    """A figure in a browser's page, with the errors and requests of the page."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page()
        self.errors: List[str] = []
        self.requests: List[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def drawn_texts(self) -> List[str]:
        """Return the texts that the page has drawn on canvases so far."""
        return list(self.page.evaluate("window.drawnTexts"))

    def exported_texts(self) -> List[str]:
        """Export the figure as SVG, and return the texts in it."""
        self.page.get_by_text("Export as SVG").click()
        self.page.wait_for_selector("svg text", state="attached", timeout=15_000)
        return list(self.page.locator("svg text").all_text_contents())

    def close(self, origin: str) -> None:
        """Close the page; it must have caused no error and no request to another server."""
        self.page.close()
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith((origin, "blob:"))] == []
