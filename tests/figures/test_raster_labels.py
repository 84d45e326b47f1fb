"""Units are named beside their rows wherever a row has room for a name."""

import re
import sys
from pathlib import Path
from typing import Any, Iterator

import figpack_spike_sorting
import numpy as np
import pytest
from figpack_spike_sorting.spike_sorting_extension import spike_sorting_extension
from figure_pages import OpenFigure, chromium, served_folder

from devaria.figures import raster_labels
from devaria.figures.raster import UnitsRasterPlot
from devaria.figures.raster_labels import labelled_extension
from devaria.nwb.units.table import UnitsTable

#: Up to two minutes figpack draws single spikes, and counts of longer sessions.
SPIKES_SEC, COUNTS_SEC = 60, 300

#: Whether the axis is drawn, and that many units are named.
_NAMED = """wanted => window.drawnTexts.some(text => / (s|min)$/.test(text))
    && new Set(window.drawnTexts.filter(text => text.startsWith("Unit "))).size === wanted"""


def table(num_units: int, duration_sec: int) -> UnitsTable:
    """Return units with a spike in each second."""
    times = np.arange(duration_sec, dtype=np.float32)
    return UnitsTable(
        unit_ids=[str(number) for number in range(num_units)],
        spike_times_sec=np.tile(times, num_units),
        unit_stops=np.arange(1, num_units + 1) * duration_sec,
        start_time_sec=0.0,
        end_time_sec=float(times[-1]),
        num_rows=num_units,
        num_dropped=0,
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run Chromium with windows of 1280 x 800 pixels."""
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.mark.parametrize(
    ("num_units", "duration_sec", "num_named", "num_exported"),
    [
        (4, SPIKES_SEC, 4, 4),
        (35, COUNTS_SEC, 35, 35),
        (60, SPIKES_SEC, 60, 60),
        (100, COUNTS_SEC, 100, 0),  # the export has rows of 5 pixels
        (200, COUNTS_SEC, 0, 0),
    ],
)
def test_names_in_the_first_picture(
    num_units: int,
    duration_sec: int,
    num_named: int,
    num_exported: int,
    browser: Any,
    tmp_path: Path,
) -> None:
    """They are on the screen without a click, and in the export, while a row has 6 pixels."""
    UnitsRasterPlot(table(num_units, duration_sec)).save(str(tmp_path / "figure"), title="T")
    with served_folder(tmp_path) as url:
        figure = OpenFigure(browser, f"{url}/figure/index.html")
        # The ticks of the axis stand in the same picture.
        figure.page.wait_for_function(_NAMED, arg=num_named)
        names = [f"Unit {number}" for number in range(num_exported)]
        exported = [text for text in figure.exported_texts() if text.startswith("Unit ")]
        assert sorted(exported) == sorted(names)
        figure.close(url)


def test_script_is_changed_where_labels_are_drawn_and_nowhere_else() -> None:
    """The limit, the font and the line of the text, in three places of the installed script."""
    before, after = spike_sorting_extension.javascript_code, labelled_extension().javascript_code
    assert labelled_extension().name == spike_sorting_extension.name
    # With another build of the script: look whether it still says what is changed.
    limit = re.findall(r">=(\w+)\)\{\w+\.globalAlpha=1", before)[0]
    assert after.count(">=6){") == before.count(f">={limit}){{") == 3
    font = re.compile(r'Math\.min\(12,\w+\)\+"px Arial",\w+\.textBaseline="middle"')
    assert font.sub('"12px Arial"', after).replace(">=6){", f">={limit}){{") == before


def test_the_installed_script_takes_little_memory_and_is_the_same() -> None:
    """An idle runner keeps it."""
    installed = Path(figpack_spike_sorting.__file__).with_name("figpack_spike_sorting.js")
    assert spike_sorting_extension.javascript_code == installed.read_text(encoding="utf-8")
    kept = sum(map(sys.getsizeof, vars(spike_sorting_extension).values()))
    assert kept < 1.1 * installed.stat().st_size + 1000


def test_another_script_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a version of the front end that is not known, there are fewer labels, and no error."""
    other = type(spike_sorting_extension)(name="x", javascript_code="draw(`Unit ${id}`)")
    monkeypatch.setattr(raster_labels, "spike_sorting_extension", other)
    labelled_extension.cache_clear()
    try:
        assert labelled_extension().javascript_code == other.javascript_code
    finally:
        labelled_extension.cache_clear()
