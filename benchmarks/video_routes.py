"""Run one route from an image series to a figure, in this process.

    python benchmarks/video_routes.py stock|ours URL MODE

"stock" does what the handler does that came before, whatever the mode: it reads the first 1,000
frames with h5py over plain HTTP, scales them from 0 to the 99th percentile of all of them, in
float64, and encodes them. "ours" is the job's handler, which here saves the figure instead of
uploading it.

Prints a JSON object with the seconds that it took, without imports for "stock".
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from raster_routes import PlainHttpFile

#: Where the bench's files have their movie.
MOVIE_PATH = "/acquisition/TwoPhotonSeries"

_MAX_FRAMES = 1000
_RATE = Fraction(30)


def stock(url: str, mode: str) -> None:
    """Read, scale and encode as the earlier handler does."""
    import av
    import h5py
    import numpy as np

    del mode  # it shows the first frames
    with h5py.File(io.BufferedReader(PlainHttpFile(url), 1 << 16), "r") as file:
        frames = file[MOVIE_PATH]["data"][:_MAX_FRAMES]
    white = np.percentile(frames.astype(np.float64), 99)
    levels = np.clip(frames.astype(np.float64) / white * 255, 0, 255).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder, av.open(f"{folder}/video.mp4", "w") as container:
        options = {"preset": "veryfast", "crf": "23"}
        stream: Any = container.add_stream("libx264", rate=_RATE, options=options)
        stream.height, stream.width = levels.shape[1:]
        stream.pix_fmt = "yuv420p"
        for frame in levels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "gray")))
        container.mux(stream.encode(None))


def ours(url: str, mode: str) -> None:
    """Run the job's handler."""
    from devaria.jobs.figpack_nwb_video_preview import FigpackNwbVideoPreviewHandler

    class Saving(FigpackNwbVideoPreviewHandler):
        def publish(self, figure: Any, *_: Any) -> str:
            figure.view.save(f"{self.run_dir}/figure", title="T")
            return ""

    os.environ.update(FIGPACK_API_KEY="none", FIGPACK_API_BASE_URL="http://127.0.0.1:9")
    params = {"nwb_url": url, "image_series_path": MOVIE_PATH, "mode": mode}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        Saving().run(params, lambda **_news: None, Path(folder))


def main() -> None:
    """Run the route that the command line names."""
    route, url, mode = sys.argv[1:]
    if route == "stock":
        import av  # noqa: F401
        import h5py  # noqa: F401
    start = time.perf_counter()
    {"stock": stock, "ours": ours}[route](url, mode)
    print(json.dumps({"inner_sec": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
