"""How values become grey levels."""

from typing import Any

import numpy as np
import pytest

from devaria.figures.video_scaling import GreyScale, ValueRange, value_range
from devaria.nwb.errors import NwbError

RNG = np.random.default_rng(5)


def levels(frame: Any, shown: ValueRange) -> Any:
    """Scale one frame."""
    frame = np.asarray(frame)
    out = np.full(frame.shape, 77, np.uint8)
    GreyScale(shown, frame.dtype).scale(frame, out)
    return out


def formula(frame: Any, shown: ValueRange) -> Any:
    """The documented formula, for all values at once."""
    values = (np.asarray(frame, np.float64) - shown.low) * (255 / (shown.high - shown.low))
    return np.where(np.isnan(values), 0, np.floor(np.clip(values + 0.5, 0, 255)))


@pytest.mark.parametrize(
    "frame",
    [
        RNG.integers(0, 256, (30, 40)).astype(np.uint8),
        RNG.integers(0, 65536, (30, 40)).astype(np.uint16),
        RNG.integers(-2000, 2000, (30, 40)).astype(np.int16),
        RNG.integers(-128, 128, (30, 40)).astype(np.int8),
        RNG.integers(-32768, 32768, (30, 40)).astype(">i2"),
        RNG.integers(0, 4096, (30, 40)).astype(">u2"),
        RNG.integers(2**40, 2**40 + 500, (30, 40)),
        RNG.normal(size=(30, 40)).astype(np.float16),
        RNG.normal(size=(30, 40)).astype(np.float32) * 1e30,
        RNG.normal(size=(30, 40)),
        RNG.integers(0, 65536, (30, 40, 3)).astype(np.uint16),
        RNG.integers(0, 65536, (700, 900)).astype(np.uint16),
        RNG.integers(0, 65536, (2, 200_000)).astype(np.uint16),
        RNG.integers(0, 256, (1, 1)).astype(np.uint8),
        RNG.integers(0, 65536, (30, 40, 4)).astype(np.uint16)[..., :3],
    ],
    ids=lambda frame: f"{frame.dtype}{frame.shape}",
)
def test_levels_follow_the_formula(frame: Any) -> None:
    """Every pixel of every type and shape has the level of the formula."""
    shown = value_range(frame[None])
    np.testing.assert_array_equal(levels(frame, shown), formula(frame, shown))


def test_black_white_and_beyond() -> None:
    """Below the range is black, above it white; halves are rounded up."""
    frame = [[-5, 10, 10.999, 11, 137.5, 264.9, 265, 9e9]]
    assert levels(frame, ValueRange(10, 265)).tolist() == [[0, 0, 1, 1, 128, 255, 255, 255]]


def test_nan_is_black() -> None:
    """What is no number is black, minus infinity too, and infinity is white."""
    frame = np.array([[np.nan, -np.inf, np.inf, 1.0]], np.float32)
    assert levels(frame, ValueRange(0, 2)).tolist() == [[0, 0, 255, 128]]


def test_range_is_percentiles() -> None:
    """The brightest and the darkest pixels do not decide what is white and black."""
    sample = np.arange(1001, dtype=np.uint16).reshape(1, 7, 143)
    assert value_range(sample)[:2] == (5, 995)
    sample[0, 0, 0], sample[0, -1, -1] = 65535, 60000
    assert value_range(sample).high < 1000


def test_range_of_a_large_sample() -> None:
    """A sample that is thinned has almost the same percentiles."""
    sample = RNG.normal(100, 10, (3, 2000, 2000)).astype(np.float32)
    low, high, _ = value_range(sample)
    assert low == pytest.approx(np.percentile(sample, 0.5), abs=0.1)
    assert high == pytest.approx(np.percentile(sample, 99.5), abs=0.1)


def test_range_ignores_what_is_no_number() -> None:
    """NaN and infinity do not count."""
    sample = np.full((2, 10, 10), np.nan)
    sample[0, 0, :4] = 3, 7, np.inf, -np.inf
    low, high, _ = value_range(sample)
    assert (low, high) == (pytest.approx(3.02), pytest.approx(6.98))


def test_rare_values_are_seen() -> None:
    """If both percentiles are equal, as for a mask with few pixels, all of the range is shown."""
    sample = np.zeros((5, 100, 100), np.uint8)
    sample[2, 50, 50] = 1
    assert value_range(sample)[:2] == (0, 1)


@pytest.mark.parametrize("value", [0, 7, -3.5, 65535, 1e15, -1e300])
def test_constant_frames_are_grey(value: float) -> None:
    """Frames of one value are grey, neither black nor white."""
    frame = np.full((4, 4), value)
    assert set(levels(frame, value_range(frame[None])).ravel()) == {128}


def test_nothing_to_show() -> None:
    """Frames without a single number are a clear error."""
    with pytest.raises(NwbError, match="nothing to show: in the 3 frames that were looked at, all"):
        value_range(np.full((3, 4, 4), np.nan))


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (np.arange(10_001) * 10, "Black is 500 and white 99,500: the percentiles 0.5 and 99.5 of"),
        (np.linspace(-1, 1, 1001), "Black is -0.99 and white 0.99: the percentiles 0.5 and 99.5"),
        (
            np.array([0] * 999 + [1]),
            "Black is 0 and white 1: the smallest and the largest value of",
        ),
        (np.full(50, 1e12), "Grey: all values of one frame are 1e+12"),
    ],
)
def test_range_in_words(sample: Any, text: str) -> None:
    """The range says what it is: whole numbers have separators, others six digits."""
    assert value_range(sample.reshape(1, 1, -1)).in_words.startswith(text)
    assert "one frame" in value_range(sample.reshape(1, 1, -1)).in_words
    assert "2 frames" in value_range(np.stack([sample, sample]).reshape(2, 1, -1)).in_words
