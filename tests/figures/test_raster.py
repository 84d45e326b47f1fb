"""The raster plot equals figpack's own, and is right where figpack is wrong."""

from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

import h5py
import numpy as np
import pytest
from figpack_spike_sorting.views import RasterPlot
from hypothesis import given, settings
from hypothesis import strategies as st
from nwb_files import add_last_counts, add_units, memory_file

from devaria.figures import raster_arrays
from devaria.figures.raster import UnitsRasterPlot
from devaria.figures.raster_arrays import counts_per_second, reference_points, spikes_in_time_order
from devaria.nwb.errors import NwbError
from devaria.nwb.units.choice import Group
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable


class RecordingGroup:
    """Records what a view writes to a zarr group."""

    def __init__(self) -> None:
        self.attrs: Dict[str, Any] = {}
        self.datasets: Dict[str, Any] = {}

    def create_dataset(self, name: str, *, data: Any, chunks: Any) -> None:
        """Record one array."""
        self.datasets[name] = SimpleNamespace(data=data, chunks=chunks)


def written(view: Any) -> RecordingGroup:
    """Return what a view writes."""
    group = RecordingGroup()
    view.write_to_zarr_group(group)
    return group


def end_of(table: UnitsTable) -> np.float32:
    """Return the last spike time as figures have it."""
    last: np.float32 = table.spike_times_sec.max()
    return last


def assert_as_figpack(file: h5py.File, *, ids_as_figpack: bool = True) -> None:
    """Compare with the view that figpack makes of the same units table.

    figpack draws units with equal ids in one row, so its table has row numbers for ids.
    """
    table = read_units_table(file, "/units", file_bytes=10**9)
    ours = written(UnitsRasterPlot(table))
    if len(set(table.unit_ids)) < len(table.unit_ids):
        file["units/id"][:] = np.arange(len(file["units/id"]))
        ids_as_figpack = False
    stock = written(RasterPlot.from_nwb_units_table(file, units_path="/units"))
    if not ids_as_figpack:
        stock.attrs["unit_ids"] = ours.attrs["unit_ids"]
    ends = {
        "reference_times": end_of(table),
        "reference_indices": len(table.spike_times_sec),
    }
    add_last_counts(stock.datasets["spike_counts_1sec"].data, table)
    for name, end in ends.items():  # the point that figpack's figures lack
        points = ours.datasets[name]
        assert points.data[-1] == end
        ours.datasets[name] = SimpleNamespace(data=points.data[:-1], chunks=(points.chunks[0] - 1,))
    # The front end draws no spike that lies behind the end, and may be rounded to there.
    stock.attrs["end_time_sec"] = max(stock.attrs["end_time_sec"], float(end_of(table)))
    if len(stock.datasets["reference_times"].data) == 1:
        # Spikes within a second, which figpack does not draw. Another test is about these.
        for group in (ours, stock):
            del group.datasets["spike_counts_1sec"]
            del group.attrs["start_time_sec"], group.attrs["end_time_sec"]
    assert ours.attrs == stock.attrs
    assert {k: type(v) for k, v in ours.attrs.items()} == {
        k: type(v) for k, v in stock.attrs.items()
    }
    assert list(ours.datasets) == list(stock.datasets)
    for name, dataset in stock.datasets.items():
        assert ours.datasets[name].chunks == dataset.chunks, name
        assert ours.datasets[name].data.dtype == dataset.data.dtype, name
        np.testing.assert_array_equal(ours.datasets[name].data, dataset.data, name)
        assert ours.datasets[name].data.tobytes() == dataset.data.tobytes(), name  # -0.0 is not 0.0


_times = st.one_of(
    st.floats(-50, 200, width=64),
    st.floats(
        15_000, 15_060, width=64
    ),  # beyond 2**13 float32 merges what lies a millisecond apart
    st.integers(-5, 60).map(float),
    st.integers(-40, 400).map(lambda eighths: eighths / 8),
    st.just(-0.0),
)
#: Rounding does not change the order of these.
_float32_times = _times.map(lambda time: float(np.float32(time)))


@st.composite
def _tables(draw: st.DrawFn) -> Dict[str, Any]:
    trains: List[List[float]] = draw(
        st.lists(st.lists(_times, max_size=25).map(sorted), min_size=1, max_size=6)
    )
    trains[draw(st.integers(0, len(trains) - 1))] = sorted(draw(st.lists(_times, min_size=1)))
    dtype = draw(st.sampled_from(["f8", "f4", ">f8", "i4", "i8"]))
    numbers = st.integers(0, 3) if draw(st.booleans()) else st.integers(0, 2**40)
    ids = draw(st.lists(numbers, min_size=len(trains), max_size=len(trains)))
    return {"trains": trains, "dtype": dtype, "ids": ids}


@settings(max_examples=500, deadline=None)
@given(table=_tables(), window_spikes=st.sampled_from([1, 3, 20, 2**18]))
def test_generated_tables_are_as_figpack_has_them(
    table: Dict[str, Any], window_spikes: int
) -> None:
    """Ties, negative times, equal ids, empty units, any number type: every array is figpack's.

    The length of the windows in which spikes are sorted makes no difference.
    """
    with memory_file() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster_arrays, "_WINDOW_SPIKES", window_spikes)
        patch.setattr(raster_arrays, "_WINDOW_SPIKES_PER_UNIT", 1)
        add_units(file, **table)
        assert_as_figpack(file)


@settings(max_examples=50, deadline=None)
@given(trains=st.lists(st.lists(_float32_times, min_size=1, max_size=25), min_size=1, max_size=6))
def test_units_out_of_order_are_as_if_they_were_in_order(trains: List[List[float]]) -> None:
    """Units out of order, for which figpack's range is wrong, give the figure of sorted units."""
    with memory_file() as file:
        add_units(file, trains)
        ours = written(UnitsRasterPlot(read_units_table(file, "/units", file_bytes=10**9)))
    with memory_file() as file:
        # sorted() is stable: equal times, such as 0.0 and -0.0, keep their order.
        add_units(file, [sorted(train) for train in trains])
        assert_as_figpack(file)
        other = written(UnitsRasterPlot(read_units_table(file, "/units", file_bytes=10**9)))
    assert ours.attrs == other.attrs
    for name, dataset in other.datasets.items():
        assert ours.datasets[name].data.tobytes() == dataset.data.tobytes(), name


def test_millions_of_spikes_are_as_figpack_has_them() -> None:
    """A table with many windows, chunks and ties is figpack's; progress comes with each window."""
    rng = np.random.default_rng(1)
    trains = [np.sort(rng.integers(0, 400_000, 50_000) / 1000) for _ in range(45)]
    told: List[Tuple[int, int]] = []
    with memory_file() as file:
        add_units(file, trains)
        assert_as_figpack(file)
        table = read_units_table(file, "/units", file_bytes=10**9)
        written(UnitsRasterPlot(table, lambda *news: told.append(news)))
    assert len(told) > 8
    assert told == sorted(told)
    assert told[-1] == (2_250_000, 2_250_000)


@pytest.mark.parametrize(
    "trains",
    [
        [[0.0, 1.0, 2.0]],
        [[0.0, 0.5, 1.5, 2.0, 2.0]],
        [[-3.5, -0.5, 0.5], [-3.25, 4.0]],
        [[16_777_000.25, 16_777_100.5], [16_777_050.75]],
    ],
    ids=str,
)
def test_edge_cases_are_as_figpack_has_them(trains: List[List[float]]) -> None:
    """Whole seconds, ties, and times around 0 and near 2**24 s give figpack's arrays."""
    with memory_file() as file:
        add_units(file, trains)
        assert_as_figpack(file)


@pytest.mark.parametrize(
    ("trains", "shown", "counts"),
    [
        ([[5.0]], (4.5, 5.5), [[1]]),
        ([[5.0, 5.0], [5.0]], (4.5, 5.5), [[2, 1]]),
        ([[5.0, 5.5]], (5.0, 5.5), [[2]]),
    ],
)
def test_spikes_within_a_second_can_be_drawn(
    trains: List[List[float]], shown: Tuple[float, float], counts: List[List[int]]
) -> None:
    """A figure of less than a second has a range, a bin, and two reference points."""
    with memory_file() as file:
        add_units(file, trains)
        group = written(UnitsRasterPlot(read_units_table(file, "/units", file_bytes=10**9)))
    assert (group.attrs["start_time_sec"], group.attrs["end_time_sec"]) == shown
    assert group.datasets["spike_counts_1sec"].data.tolist() == counts
    assert group.datasets["spike_counts_1sec"].chunks == (1, len(trains))
    assert group.datasets["reference_times"].data.tolist() == [5.0, trains[0][-1]]
    assert group.datasets["reference_indices"].data.tolist() == [0, sum(map(len, trains))]


def test_text_ids_are_as_figpack_has_them_but_for_the_quotes() -> None:
    """Text ids are shown without the b'' of figpack; the arrays are the same."""
    with memory_file() as file:
        add_units(file, [[1.0, 2.0], [3.0]], ids=np.array(["a", "b"], h5py.string_dtype()))
        assert_as_figpack(file, ids_as_figpack=False)


def test_units_with_equal_ids_have_rows_of_their_own() -> None:
    """The later ones are numbered, also where that is the id of another one."""
    with memory_file() as file:
        ids = np.array(["5", "5", "5 (2)", "5"], h5py.string_dtype())
        add_units(file, [[1.0], [2.0], [3.0], [4.0]], ids=ids)
        group = written(UnitsRasterPlot(read_units_table(file, "/units", file_bytes=10**9)))
    assert group.attrs["unit_ids"] == ["5", "5 (3)", "5 (2)", "5 (4)"]
    assert group.datasets["unit_indices"].data.tolist() == [0, 1, 2, 3]


def test_groups_have_rows_with_their_names() -> None:
    """Such a row stands above its group, and has no spikes."""
    with memory_file() as file:
        add_units(file, [[1.0], [2.0], [3.5]])
        table = read_units_table(file, "/units", file_bytes=10**9)
    group = written(UnitsRasterPlot(table, groups=[Group("a", 2), Group("b", 1)]))
    assert group.attrs["unit_ids"] == ["0", "1", "\u2063a", "2", "\u2063b"]
    assert group.datasets["unit_indices"].data.tolist() == [0, 1, 3]
    assert group.datasets["timestamps"].data.tolist() == [1.0, 2.0, 3.5]
    counts = group.datasets["spike_counts_1sec"].data
    assert counts.sum(axis=0).tolist() == [1, 1, 0, 1, 0]


def test_large_figure_is_cut_as_figpack_cuts_it() -> None:
    """Arrays of more than two million spikes are stored in chunks, as figpack stores them."""
    times = np.linspace(0, 20, 1_000_050)
    table = UnitsTable(
        unit_ids=["0", "1"],
        unit_rows=np.arange(2),
        spike_times_sec=np.concatenate([times, times]).astype(np.float32),
        unit_stops=np.array([len(times), 2 * len(times)]),
        start_time_sec=0.0,
        end_time_sec=20.0,
        num_rows=2,
        num_dropped=0,
    )
    datasets = written(UnitsRasterPlot(table)).datasets
    assert datasets["timestamps"].chunks == datasets["unit_indices"].chunks == (2_000_000,)
    assert datasets["reference_times"].chunks == (len(datasets["reference_times"].data),)
    # 50,002 spikes a second fit into 16 bits.
    assert datasets["spike_counts_1sec"].data.sum() == 2 * len(times)


@pytest.mark.parametrize(
    "train", [[0.0, 1.0, 2.0], [-1.5, 0.25, 0.5, 0.5], [100.25, 102.24999999]], ids=str
)
def test_spikes_on_a_whole_seconds_end_are_counted(train: List[float]) -> None:
    """The last bin includes its end, as numpy's histogram does; figpack's figures lose them.

    The last train ends on a whole second only after it is rounded to float32.
    """
    with memory_file() as file:
        add_units(file, [train])
        table = read_units_table(file, "/units", file_bytes=10**9)
    assert counts_per_second(table).sum() == len(train)
    assert counts_per_second(table).shape == (2, 1)


def test_units_out_of_order_keep_all_their_counts() -> None:
    """No spike of unsorted units is lost; figpack takes first and last element as the range."""
    with memory_file() as file:
        add_units(file, [[5.0, 2.0, 9.5, 3.0], [4.0]])
        group = written(UnitsRasterPlot(read_units_table(file, "/units", file_bytes=10**9)))
    assert (group.attrs["start_time_sec"], group.attrs["end_time_sec"]) == (2.0, 9.5)
    assert group.datasets["timestamps"].data.tolist() == [2.0, 3.0, 4.0, 5.0, 9.5]
    assert group.datasets["unit_indices"].data.tolist() == [0, 0, 1, 0, 0]
    assert group.datasets["spike_counts_1sec"].data.sum() == 5


def test_counts_stop_at_16_bits() -> None:
    """More than 65,535 spikes of a unit in a second are counted as 65,535, as figpack does."""
    with memory_file() as file:
        add_units(file, [np.linspace(0, 1.5, 150_000)])
        table = read_units_table(file, "/units", file_bytes=10**9)
    assert counts_per_second(table)[:, 0].tolist() == [65_535, 50_000]


def test_counts_too_large_are_refused() -> None:
    """A table of counts that would fill the memory is refused before it is allocated."""
    table = UnitsTable(
        unit_ids=[str(number) for number in range(65_536)],
        unit_rows=np.arange(65_536),
        spike_times_sec=np.arange(65_536, dtype=np.float32),
        unit_stops=np.arange(1, 65_537),
        start_time_sec=0.0,
        end_time_sec=65_535.0,
        num_rows=65_536,
        num_dropped=0,
    )
    with pytest.raises(NwbError, match="65,536 units over 65,535 s are too many to draw"):
        UnitsRasterPlot(table)
    times, units = spikes_in_time_order(table)
    assert np.array_equal(times, table.spike_times_sec)
    assert np.array_equal(units, np.arange(65_536))


def test_reference_points_end_where_float32_has_no_seconds() -> None:
    """Beyond 2**24 s, where time + 1 may equal the time, each spike is a point."""
    times = np.array([1.7e9, 1.7e9, 1.7e9 + 128], dtype=np.float32)
    points, indices = reference_points(times)
    assert indices.tolist() == [0, 1, 2, 3]
    assert np.array_equal(points, [*times, times[-1]])
