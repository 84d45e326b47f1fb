"""Progress: percentages that never decrease, and a console line every few seconds."""

from typing import List

from devaria.figures.progress import Progress


class Told:
    """Records percentages and lines. Its clock moves only when a test sets it."""

    def __init__(self) -> None:
        self.percent: List[float] = []
        self.lines: List[str] = []
        self.now_sec = 0.0
        self.progress = Progress(self.percent.append, self.lines.append, lambda: self.now_sec)


def test_parts_make_up_the_whole() -> None:
    """Bytes read, spikes sorted and files uploaded follow each other in percent."""
    told = Told()
    for done in (0, 5, 10):
        told.progress.read(done, 10)
    for done in (0, 5, 10):
        told.progress.built("Sorted", done, 10, "spikes")
    for done in (0, 5, 10):
        told.progress.uploaded(done, 10)
    told.progress.reached(100)
    assert told.percent == [5, 32.5, 60, 60, 67.5, 75, 75, 87, 99, 100]


def test_another_try_does_not_bring_it_down() -> None:
    """When an upload starts again, the percentage stays."""
    told = Told()
    told.progress.uploaded(7, 8)
    told.progress.built("Sorted", 1, 10, "spikes")
    told.progress.uploaded(1, 8)
    assert told.percent == [96, 96, 96]


def test_totals_may_be_wrong() -> None:
    """A total that is too small, or 0, counts as complete."""
    told = Told()
    told.progress.read(12, 10)
    told.progress.built("Sorted", 0, 0, "spikes")
    assert told.percent == [60, 60]


def test_lines_come_every_five_seconds() -> None:
    """However often progress is reported, there is at most one line in 5 s, and none at the end."""
    told = Told()
    for tenths in range(123):
        told.now_sec = tenths / 10
        told.progress.read(tenths * 1_000_000, 66_700_000)
    assert told.lines == ["Read 50.0 of 66.7 MB"]
    told.progress.built("Sorted", 12_000_000, 100_000_000, "spikes")
    told.now_sec = 60
    told.progress.built("Sorted", 25_000_000, 100_000_000, "spikes")
    told.progress.uploaded(1, 8)
    told.now_sec = 70
    told.progress.built("Sorted", 100_000_000, 100_000_000, "spikes")
    assert told.lines[1:] == [
        "Sorted 12,000,000 of 100,000,000 spikes",
        "Sorted 25,000,000 of 100,000,000 spikes",
    ]


def test_reading_and_building_at_once() -> None:
    """A figure that is built as it is read goes on where its bytes are, up to the upload."""
    told = Told()
    told.progress.read(1, 10)
    told.now_sec = 5
    for done in (0, 5, 10):
        told.progress.read_and_built("Encoded", done, 10, "frames")
    told.progress.read(10, 10)
    told.progress.uploaded(0, 8)
    assert told.percent == [10.5, 10.5, 40, 75, 75, 75]
    assert told.lines == ["Encoded 0 of 10 frames"]
