"""Open a large pose figure in Chromium, and count the pictures a second while it plays.

    python benchmarks/pose_browser.py [--parts 50] [--frames 1000000]

The local worker serves the figure on loopback. Needs playwright and the machine's Chromium. Prints
how long it takes until picture and graphs are drawn, what was fetched for it, and for some speeds
how many pictures are drawn in a second.
"""

import argparse
import contextlib
import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, List

import numpy as np
from playwright.sync_api import sync_playwright

from devaria.figures.pose_arrays import PoseArrays, frames_apart
from devaria.nwb.pose.parts import PosePart, PoseSetting
from devaria.worker.server import LocalWorker

RATE_HZ = 120.0

#: How long pictures are counted, in seconds.
COUNTED_SEC = 4.0

#: Whether the picture's time is known, nothing is missing, and the graphs have coloured lines.
IS_DRAWN = """() => {
    const now = document.querySelector(".dvp-now");
    if (!now || /^$|loading/.test(now.textContent)) return false;
    const canvas = document.querySelector(".dvp-graph canvas");
    const { data } = canvas.getContext("2d").getImageData(60, 10, canvas.width - 80, 20);
    const isColored = (i) => data[i + 3] && Math.abs(data[i] - data[i + 2]) > 40;
    return data.some((_, i) => i % 4 === 0 && isColored(i));
}"""

#: Counts how often the time that the figure shows has changed, a second.
COUNT = """async (ms) => {
    const now = document.querySelector(".dvp-now");
    const start = performance.now();
    let [count, last] = [0, ""];
    while (performance.now() - start < ms) {
        await new Promise(requestAnimationFrame);
        count += now.textContent !== last;
        last = now.textContent;
    }
    return count / (performance.now() - start) * 1000;
}"""


def made_up(num_parts: int, num_frames: int) -> Any:
    """Return the view of parts that walk about together, thinned as the job does it."""
    from devaria.figures.pose import PoseView

    step = frames_apart([num_frames] * num_parts)
    times = np.arange(0, num_frames, step) / RATE_HZ
    rng = np.random.default_rng(0)
    body = np.stack([320 + 200 * np.sin(times / 5), 240 + 150 * np.cos(times / 3)], axis=1)
    arrays = PoseArrays(num_parts)
    for number in range(num_parts):
        angle = 2 * np.pi * number / num_parts
        around = body + np.array([60 * np.cos(angle), 60 * np.sin(angle)])
        positions = around + rng.standard_normal(body.shape)
        arrays.add(PosePart(f"part {number}", times, positions, rng.beta(20, 1, len(times))))
    edges = [(number, number + 1) for number in range(num_parts - 1)]
    setting = PoseSetting(edges, "pixels", "s", (640, 480), step, y_up=False)
    return PoseView(setting, arrays)


def measure(page: Any, url: str) -> None:
    """Open the figure, play it, and print what it takes."""
    fetched: List[int] = []
    page.on(
        "response",
        lambda answer: (
            fetched.append(int(answer.headers.get("content-length", 0)))
            if answer.url.endswith(".dat")
            else None
        ),
    )
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_function(IS_DRAWN, polling=10)
    opened_sec = time.perf_counter() - start
    print(f"drawn after {opened_sec:.2f} s, with {sum(fetched) / 1e6:.1f} MB of data")
    for speed in ("1", "10", "100"):
        page.get_by_label("Speed").select_option(speed)
        page.get_by_role("button", name="Play (space)").click()
        per_sec = page.evaluate(COUNT, COUNTED_SEC * 1000)
        page.get_by_role("button", name="Pause (space)").click()
        print(f"speed {speed:>3}: {per_sec:.0f} pictures a second")


def main() -> None:
    """Make the figure, and measure it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=50, help="number of parts")
    parser.add_argument(
        "--frames", type=int, default=1_000_000, help="frames of each, 100,000 or more"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalWorker(
        Path(folder), port=0, rate_limit=False
    ) as worker:
        os.environ["FIGPACK_API_BASE_URL"] = worker.figpack_api_url
        os.environ["FIGPACK_API_KEY"] = worker.keys.runner
        from devaria.figures import publish

        with contextlib.redirect_stdout(io.StringIO()):
            url = publish(made_up(options.parts, options.frames), title="Pose")
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            measure(browser.new_page(viewport={"width": 1280, "height": 800}), url)
            browser.close()


if __name__ == "__main__":
    main()
