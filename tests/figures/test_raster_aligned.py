"""Spikes around events: all of them, each with its event, within bounds."""

from typing import Any, List, Tuple

import numpy as np
import pytest

from devaria.figures import raster_aligned
from devaria.figures.raster_aligned import AlignedSpikes, aligned
from devaria.nwb.errors import NwbError
from devaria.nwb.units.table import UnitsTable

RNG = np.random.default_rng(0)


def table_of(trains: List[Any]) -> UnitsTable:
    """Return a table of these spike trains."""
    spikes = np.concatenate(trains).astype(np.float32)
    return UnitsTable(
        unit_ids=[str(number) for number in range(len(trains))],
        unit_rows=np.arange(len(trains)),
        spike_times_sec=spikes,
        unit_stops=np.cumsum([len(train) for train in trains]),
        start_time_sec=float(spikes.min()),
        end_time_sec=float(spikes.max()),
        num_rows=len(trains),
        num_dropped=0,
    )


def pairs(spikes: AlignedSpikes, unit: int) -> List[Tuple[int, float]]:
    """Return event and time of each spike of a unit."""
    stops = [0, *spikes.unit_stops.tolist()]
    part = slice(stops[unit], stops[unit + 1])
    return list(zip(spikes.events[part].tolist(), spikes.times_sec[part].tolist()))


def test_every_spike_around_every_event() -> None:
    """A spike near two events belongs to both; the ends of the window belong to it."""
    trains = [RNG.uniform(0, 50, 300), np.array([9.0, 12.0, 12.01, 30.0]), np.array([100.0])]
    events = np.array([10.0, 11.5, 40.0])
    spikes = aligned(table_of(trains), events)
    for unit, train in enumerate(trains):
        expected = [
            (number, float(np.float32(float(time) - event)))
            for number, event in enumerate(events)
            for time in np.sort(train.astype(np.float32))
            if -1 <= float(time) - event <= 2
        ]
        assert pairs(spikes, unit) == expected
    assert pairs(spikes, 1) == [(0, -1.0), (0, 2.0), (1, 0.5), (1, pytest.approx(0.51))]
    assert (spikes.num_events, pairs(spikes, 2)) == (3, [])


def test_events_and_spikes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many events, every second one is shown, or every third, and so on."""
    table = table_of([np.arange(0, 1000, 0.1)])
    assert aligned(table, np.arange(10.0, 990.0)).num_events == 980
    monkeypatch.setattr(raster_aligned, "MAX_EVENTS", 500)
    assert aligned(table, np.arange(10.0, 990.0)).num_events == 490
    monkeypatch.setattr(raster_aligned, "MAX_SPIKES", 5000)
    spikes = aligned(table, np.arange(10.0, 990.0))
    assert spikes.num_events == 123  # every eighth
    assert len(spikes.times_sec) <= 5000


def test_no_spike_around_any_event() -> None:
    """It is an error that asks for the clock."""
    with pytest.raises(NwbError, match="no spike around any event; do both have the same clock"):
        aligned(table_of([np.array([1.0, 2.0])]), np.array([50.0]))
