"""figpack figures from plain arrays, and their upload.

::

    raster         the figpack view of a units table
    raster_arrays  the arrays of that view, computed with numpy
    raster_aligned the view of spikes around events
    raster_notes   the labels of its rows, and what is said about it
    raster_script  the front end of that view, changed where its pictures lack something
    pose           the view of a pose estimation
    pose_arrays    its arrays: quantised positions, and what an overview shows
    video          the view of a video
    video_encoder  encodes the frames as they come
    video_scaling  chooses which values are shown black and white
    extension      how views of devaria's own bring their scripts
    static/        these scripts: plain JavaScript
    chunks         how all views store their arrays
    markdown       quotes texts of strangers in a figure's description
    api_key        the key of the service
    upload/        `publish`: uploads a figure without leaking keys or signed URLs
    progress       turns the progress of a job's parts into percentages and console lines

A handler publishes any view of figpack with ``from devaria.figures import publish``, and quotes
texts of strangers in its description with ``as_code``.
"""

from typing import TYPE_CHECKING, Any

from devaria.figures.markdown import as_code

if TYPE_CHECKING:
    from devaria.figures.upload import publish

__all__ = ["as_code", "publish"]


def __getattr__(name: str) -> Any:
    """Import `publish` when it is asked for: jobs that upload nothing start faster without it."""
    if name != "publish":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from devaria.figures.upload import publish

    return publish
