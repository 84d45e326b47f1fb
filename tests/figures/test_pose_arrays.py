"""The arrays of a pose figure hold every frame, to 1/65,534 of a part's range."""

from typing import List

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devaria.figures import pose_arrays
from devaria.figures.pose_arrays import (
    MAX_POSITION_BYTES,
    STEPS,
    PoseArrays,
    frames_apart,
    quantised,
)
from devaria.nwb.pose.parts import PosePart

_numbers = st.one_of(st.floats(-1e15, 1e15), st.just(np.nan), st.integers(-5, 5).map(float))


@given(values=st.lists(_numbers, min_size=1, max_size=50))
def test_values_are_at_most_half_a_step_off(values: List[float]) -> None:
    """NaN stays NaN, smallest and largest value are exact, also where all are equal."""
    exact = np.array(values)
    stored, (low, high) = quantised(exact)
    np.testing.assert_array_equal(stored == 0, np.isnan(exact))
    if np.isnan(exact).all():
        return
    assert (low, high) == (np.nanmin(exact), np.nanmax(exact))
    step = (high - low) / STEPS
    shown = low + (stored.astype(np.float64) - 1) * step
    error = np.abs(shown - exact)[stored > 0]
    assert (error <= step * 0.500001 + 4e-16 * max(abs(low), abs(high))).all()


def test_no_value_is_between_the_steps() -> None:
    """The whole range is used: the largest value is stored as 65,535."""
    stored, _ = quantised(np.array([0.0, 1.0, 0.5, np.nan]))
    assert stored.tolist() == [1, 65_535, 32_768, 0]


def part_of(values: "np.ndarray", times: "np.ndarray") -> PosePart:
    """Return a part with these numbers as x, y and confidence."""
    return PosePart("p", times, np.stack([values, -values], axis=1), values / 10)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 700),
    num_parts=st.integers(1, 3),
    coarsest=st.sampled_from([1, 5, 64]),
    block=st.sampled_from([(1, 7), (4, 64), (256, 16_384)]),
    seed=st.integers(0, 99),
)
def test_overviews_have_the_extremes_of_their_frames(
    frames: int, num_parts: int, coarsest: int, block: "tuple[int, int]", seed: int
) -> None:
    """In each level, whatever the lengths of levels and blocks."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.random(frames))
    arrays = PoseArrays(num_parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_arrays, "_COARSEST", coarsest)
        patch.setattr(pose_arrays, "_BLOCK_ENTRIES", block)
        for _ in range(num_parts):
            values = rng.standard_normal(frames).round(1)
            values[rng.random(frames) < 0.4] = np.nan
            arrays.add(part_of(values, times))
        (clock,) = arrays.clocks()
    rows = [
        level.values.transpose(1, 0, 2).reshape(level.values.shape[1], -1) for level in clock.levels
    ]
    whole = rows[0][:, :frames]
    assert len(clock.levels[-1].times.ravel()) <= max(coarsest + block[1], coarsest * 8)
    for level, entries in zip(clock.levels, rows):
        starts = np.arange(0, frames, level.step)
        assert level.num_entries == len(starts)
        np.testing.assert_array_equal(level.times.ravel()[: len(starts)], times[starts])
        assert np.isnan(level.times.ravel()[len(starts) :]).all()
        assert not entries[:, len(starts) :].any()
        if level.step == 1:
            continue
        ends = [*starts[1:], frames]
        for row in range(3 * num_parts):
            for entry, (start, stop) in enumerate(zip(starts, ends)):
                seen = whole[row, start:stop][whole[row, start:stop] > 0]
                expected = [seen.min(), seen.max()] if len(seen) else [0, 0]
                assert entries[2 * row : 2 * row + 2, entry].tolist() == expected


def test_parts_are_grouped_by_their_times() -> None:
    """Those that share an array of times stand in one clock; others have their own."""
    first, second = np.arange(5.0), np.arange(3.0)
    arrays = PoseArrays(3)
    for times in (first, second, first):
        arrays.add(part_of(np.ones(len(times)), times))
    assert [(part["clock"], part["place"]) for part in arrays.parts] == [(0, 0), (1, 0), (0, 1)]
    clocks = arrays.clocks()
    assert [clock.levels[0].values.shape for clock in clocks] == [(1, 6, 5), (1, 3, 3)]


def test_track_is_picked_evenly() -> None:
    """Of a long recording, every n-th frame, with at most as many samples as may be drawn."""
    times = np.arange(25_000.0)
    arrays = PoseArrays(1)
    arrays.add(part_of(np.arange(25_000.0), times))
    (clock,) = arrays.clocks()
    frames = clock.levels[0].values.transpose(1, 0, 2).reshape(3, -1)[:, :25_000]
    assert clock.frames_per_sample == 3
    np.testing.assert_array_equal(clock.track[0], frames[:, ::3])
    assert clock.interval == 1.0


@pytest.mark.parametrize(
    ("times", "interval", "spacing"),
    [
        ([0.0, 0.5, 1.0, 9.0], 0.5, 0.5),
        ([0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 4.0], 4 / 6, 2.0),  # of a clock that is too coarse
        ([7.0, 7.0], 0.0, 0.0),
        ([7.0], 0.0, 0.0),
    ],
)
def test_how_far_frames_are_apart(times: List[float], interval: float, spacing: float) -> None:
    """Also where most have the time of the one before: a front end reckons by it."""
    arrays = PoseArrays(1)
    arrays.add(part_of(np.ones(len(times)), np.array(times)))
    (clock,) = arrays.clocks()
    assert (clock.interval, clock.spacing) == (interval, spacing)


def test_blocks_are_small_enough_to_fetch() -> None:
    """Half a megabyte for 50 parts, so that playing starts soon."""
    times = np.arange(20_000.0)
    arrays = PoseArrays(50)
    for _ in range(50):
        arrays.add(part_of(times, times))
    (clock,) = arrays.clocks()
    for level in clock.levels:
        assert level.values[0].nbytes <= 2**19
        assert len(level.values) <= -(-level.num_entries // 256)


@pytest.mark.parametrize(
    ("frames", "step"),
    [([1_000_000] * 50, 2), ([500_000] * 16, 1), ([37_500_000], 1), ([37_500_001], 2), ([1], 1)],
)
def test_frames_are_thinned_as_little_as_possible(frames: List[int], step: int) -> None:
    """So that at most 150 MB of positions are left."""
    assert frames_apart(frames) == step
    assert sum(4 * -(-each // step) for each in frames) <= MAX_POSITION_BYTES == 150_000_000
