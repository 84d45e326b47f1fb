"""Units are named where there is room for a name, thousands can be seen, and the axis is named."""

import sys
from pathlib import Path
from typing import Any, Iterator

import figpack_spike_sorting
import numpy as np
import pytest
from figpack_spike_sorting.spike_sorting_extension import spike_sorting_extension
from figure_pages import OpenFigure, chromium, served_folder

from devaria.figures import raster_script
from devaria.figures.raster import UnitsRasterPlot
from devaria.figures.raster_script import raster_extension
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
        unit_rows=np.arange(num_units),
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


#: How many pixels of the raster are darker than a shade.
_DARK = """shade => {
    const canvas = document.querySelectorAll("canvas")[1];
    if (!(canvas?.width > 80)) return 0;
    const image = canvas.getContext("2d").getImageData(60, 10, canvas.width - 80, 600).data;
    let dark = 0;
    for (let i = 0; i < image.length; i += 4) {
        const light = (image[i] + image[i + 1] + image[i + 2]) / 3;
        // On the white page that is behind the canvas.
        if (255 - (255 - light) * image[i + 3] / 255 < shade) dark++;
    }
    return dark;
}"""


def sparse_table(num_units: int, spikes_each: int, duration_sec: int) -> UnitsTable:
    """Return units with few spikes, and in the middle one with a thousand spikes a second."""
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, duration_sec, spikes_each)) for _ in range(num_units)]
    trains[num_units // 2] = np.linspace(0, duration_sec, duration_sec * 1000)
    return UnitsTable(
        unit_ids=[str(number) for number in range(num_units)],
        unit_rows=np.arange(num_units),
        spike_times_sec=np.concatenate(trains).astype(np.float32),
        unit_stops=np.cumsum([len(train) for train in trains]),
        start_time_sec=0.0,
        end_time_sec=float(duration_sec),
        num_rows=num_units,
        num_dropped=0,
    )


def test_thousands_of_units_do_not_look_blank(browser: Any, tmp_path: Path) -> None:
    """Spikes of 5,000 units over a minute, in rows of an eighth of a pixel, can be seen.

    figpack draws them in shades that hardly differ from white.
    """
    UnitsRasterPlot(sparse_table(5000, 10, SPIKES_SEC)).save(str(tmp_path / "figure"), title="T")
    with served_folder(tmp_path) as url:
        figure = OpenFigure(browser, f"{url}/figure/index.html")
        figure.page.wait_for_function(f"({_DARK})(220) > 20000")
        figure.close(url)


def test_counts_of_thousands_of_units_differ(browser: Any, tmp_path: Path) -> None:
    """Units that fire little are lighter than one that fires much, and still seen."""
    UnitsRasterPlot(sparse_table(3000, 100, COUNTS_SEC)).save(str(tmp_path / "figure"), title="T")
    with served_folder(tmp_path) as url:
        figure = OpenFigure(browser, f"{url}/figure/index.html")
        figure.page.wait_for_function(f"({_DARK})(128) > 500")
        assert figure.page.evaluate(f"({_DARK})(128)") < 5000  # a line, not the whole picture
        figure.page.wait_for_function(f"({_DARK})(240) > 100000")
        figure.close(url)


def test_time_axis_is_named(browser: Any, tmp_path: Path) -> None:
    """On the screen and in the export."""
    UnitsRasterPlot(table(4, SPIKES_SEC)).save(str(tmp_path / "figure"), title="T")
    with served_folder(tmp_path) as url:
        figure = OpenFigure(browser, f"{url}/figure/index.html")
        figure.page.wait_for_function("window.drawnTexts.includes('Time')")
        assert "Time" in figure.exported_texts()
        figure.close(url)


def test_script_is_changed_where_it_draws_and_nowhere_else() -> None:
    """Labels, spikes, counts and the axis, in so many places of the installed script."""
    before = spike_sorting_extension.javascript_code
    extension = raster_extension("Time </script>")
    assert extension.name == spike_sorting_extension.name
    own, after = extension.javascript_code.split("\n})();\n", 1)
    assert 'const TIME_AXIS = "Time </script>";' in own
    assert after.count("devariaRaster.") == sum(raster_script.PLACES) + 2  # two ends of a spike
    assert len(before) - 1500 < len(after) < len(before) + 1500


def test_the_installed_script_takes_little_memory_and_is_the_same() -> None:
    """An idle runner keeps it."""
    installed = Path(figpack_spike_sorting.__file__).with_name("figpack_spike_sorting.js")
    assert spike_sorting_extension.javascript_code == installed.read_text(encoding="utf-8")
    kept = sum(map(sys.getsizeof, vars(spike_sorting_extension).values()))
    assert kept < 1.1 * installed.stat().st_size + 1000


def test_another_script_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a version of the front end that is not known, there are fewer labels, and no error."""
    other = type(spike_sorting_extension)(name="x", javascript_code="draw(`Unit ${id}`)")
    monkeypatch.setattr(raster_script, "spike_sorting_extension", other)
    raster_script._changed_script.cache_clear()
    try:
        assert raster_extension("Time").javascript_code == other.javascript_code
    finally:
        raster_script._changed_script.cache_clear()
