"""How the views of this folder store their arrays."""

from contextlib import nullcontext
from typing import Any, ContextManager

import zarr


def writing_all_chunks() -> ContextManager[Any]:
    """Make zarr store chunks of zeros too, while the block runs.

    zarr 3 leaves them out by default, but figpack's front end needs them. Without them, a figure
    with one unit, whose unit numbers are all 0, fails when it is zoomed; if it is shorter than a
    second, it fails at once.
    """
    if not hasattr(zarr, "config"):
        return nullcontext()  # zarr 2 always stores them
    writing: ContextManager[Any] = zarr.config.set({"array.write_empty_chunks": True})
    return writing
