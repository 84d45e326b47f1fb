"""figpack figures from plain arrays, and their upload.

::

    raster         the figpack view of a units table
    raster_arrays  the arrays of that view, computed with numpy
    raster_labels  the front end of that view, with labels in lower rows
    chunks         how all views store their arrays
    upload         `publish`: uploads a figure without leaking keys or signed URLs
    progress       turns the progress of a job's parts into percentages and console lines

A handler publishes any view of figpack with ``from devaria.figures import publish``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devaria.figures.upload import publish

__all__ = ["publish"]


def __getattr__(name: str) -> Any:
    """Import `publish` when it is asked for: jobs that upload nothing start faster without it."""
    if name != "publish":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from devaria.figures.upload import publish

    return publish
