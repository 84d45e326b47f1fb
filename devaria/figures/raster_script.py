"""figpack's raster plot, changed where its pictures lack something.

- The front end of figpack-spike-sorting names the units if their rows are 15 pixels high or more:
  43 units in a window of 800 pixels. Rows of 6 pixels still have room for a small label.
- Of thousands of units, it draws lines that are a tenth of a pixel high: too faint to see. And one
  unit that fires much makes the counts of all others alike.
- It does not name its time axis.

Nothing in a figure's data changes that. So the script that goes into the figure is changed where it
draws these: there it calls ``static/raster_rows.js``.
"""

import copy
import json
import re
from functools import lru_cache
from typing import Any, Optional

import figpack
from figpack_spike_sorting.spike_sorting_extension import spike_sorting_extension

from devaria.figures.extension import in_function

#: A short name in the built script.
_NAME = r"([\w$]+)"

#: `row >= limit) {…}` that names the units: for counts and for spikes on the screen; in the export.
_LABELS = (
    rf"{_NAME}>={_NAME}\)\{{{_NAME}\.globalAlpha=1;const {_NAME}=({_NAME}\?{_NAME}:{_NAME});"
    rf"\4\.forEach\(\({_NAME},{_NAME}\)=>\{{const {_NAME}={_NAME}\.top\+"
    rf"\(\4\.length-1-\10\)\*\1\+\1/2,{_NAME}=({_NAME}\({_NAME}\(\9\)\));\3\.fillStyle=\13,"
    rf'\3\.font="12px Arial",\3\.textAlign="right",'
    rf"\3\.fillText\(`Unit \$\{{\9\}}`,\12\.left-5,\11\)\}}\)\}}"
)

#: The two ends of a spike's line: on the screen, and in the export.
_LINE = rf"{_NAME}-{_NAME}\*\.4\),({_NAME}\.lineTo\({_NAME}),\1\+\2\*\.4\)"

#: The rectangle of a count: of all units and of the selected ones; on the screen; in the export.
_COUNT = (
    rf"{_NAME}\.fillStyle=({_NAME}|{_NAME}\({_NAME}\)),"
    rf"\1\.fillRect\({_NAME},{_NAME},({_NAME}-\6\+\.5),{_NAME}\)"
)

#: The line of the time axis.
_AXIS = (
    rf'({_NAME}\.hideTimeAxisLabels\),{_NAME}\.strokeStyle="lightgray",'
    rf"{_NAME}\(\3,{_NAME}\.left,{_NAME},{_NAME}-\5\.right,\6\)),"
)

_CHANGES = (
    (_LABELS, r"!0){devariaRaster.drawLabels(\3,\5,\1,\12,\9=>\14)}"),
    (_LINE, r"\1-devariaRaster.halfTick(\2)),\3,\1+devariaRaster.halfTick(\2))"),
    (_COUNT, r"devariaRaster.drawCount(\1,\2,\6,\7,\8,\10)"),
    (_AXIS, r"\1,\2.hideTimeAxisLabels||devariaRaster.drawTimeAxisName(\3,\5,\6,\7),"),
)

#: All of it stands between these texts, or so many characters before and after them.
_FIRST, _LAST, _MARGIN = "hideTimeAxisLabels", '"12px Arial"', 1000

#: How often each of these is in the script that is known here.
PLACES = (3, 2, 4, 1)


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


def raster_extension(time_axis: str) -> Any:
    """Return the extension of figpack-spike-sorting with the changes.

    If its script is not the one that is known here, it stays as it is.

    Args:
        time_axis: The name of the time axis.
    """
    extension = copy.copy(spike_sorting_extension)
    changed = _changed_script()
    if changed is not None:
        name = f"const TIME_AXIS = {json.dumps(time_axis)};"
        own = in_function("page", "raster_rows", before=name)
        extension.javascript_code = own + changed.decode()
    return extension


@lru_cache(maxsize=None)
def _changed_script() -> Optional[bytes]:
    """Return the changed script, or None. As a text, it would take four times the memory."""
    script: str = spike_sorting_extension.javascript_code
    # In all of it, the search would take most of a second.
    start = max(0, script.find(_FIRST) - _MARGIN)
    end = script.rfind(_LAST) + _MARGIN
    part = script[start:end]
    for (pattern, replacement), places in zip(_CHANGES, PLACES):
        part, count = re.subn(pattern, replacement, part)
        if count != places:
            return None
    return (script[:start] + part + script[end:]).encode()


# An idle runner imports this, and keeps both scripts. The next job need not wait for them.
_pack(spike_sorting_extension)
_changed_script()
