"""figpack's raster plot with labels of units in lower rows.

The front end of figpack-spike-sorting names the units if their rows are 15 pixels high or more: 43
units in a window of 800 pixels. Nothing in a figure's data changes that. Rows of 6 pixels still
have room for a small label, so the script that goes into the figure is changed in three places: on
the screen for counts and for spikes, and in the export.
"""

import copy
import re
from functools import lru_cache
from typing import Any

import figpack
from figpack_spike_sorting.spike_sorting_extension import spike_sorting_extension

#: The height of the lowest rows with labels, in pixels. The text is as high as its row, at most 12.
MIN_ROW_PIXELS = 6

#: `if (row >= limit) { … (number) * row + row / 2, … font = "12px Arial", … fillText(`Unit …`) }`,
#: with the short names of the built script.
_LABELS = re.compile(
    r">=\w+(\)\{[^`]{1,150}\)\*(\w+)\+\2/2,[^`]{1,80}\b(\w+)\.font=)"
    r'"12px Arial"(,\3\.textAlign="right",\3\.fillText\(`Unit \$)'
)
_LOWER_LABELS = (
    rf">={MIN_ROW_PIXELS}\1"
    r'Math.min(12,\2)+"px Arial",\3.textBaseline="middle"\4'
)


class _PackedExtension(figpack.FigpackExtension):  # type: ignore[misc]  # figpack is untyped
    """Keeps its script as UTF-8.

    As a text it takes four times the memory, for the sake of a few rare characters.
    """

    _script: bytes

    @property
    def javascript_code(self) -> str:
        return self._script.decode()

    @javascript_code.setter
    def javascript_code(self, code: str) -> None:
        self._script = code.encode()


def _pack(extension: Any) -> None:
    code = vars(extension).pop("javascript_code", None)
    if code is not None:  # else figpack itself keeps it elsewhere
        extension.__class__ = _PackedExtension
        extension.javascript_code = code


@lru_cache(maxsize=None)
def labelled_extension() -> Any:
    """Return the extension of figpack-spike-sorting, with labels in rows of 6 pixels and more.

    If its script is not the one that is known here, it stays as it is: with fewer labels.
    """
    extension = copy.copy(spike_sorting_extension)
    extension.javascript_code = _LABELS.sub(_LOWER_LABELS, extension.javascript_code)
    return extension


# An idle runner keeps both scripts: figpack's for other views, and this one to save time later.
_pack(spike_sorting_extension)
labelled_extension()
