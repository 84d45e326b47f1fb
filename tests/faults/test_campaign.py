"""The crash campaign, short by default; `pytest -m campaign` runs the long one.

`CAMPAIGN_FAULT_RATE=0.25` lets a quarter of all answers be bad, `CAMPAIGN_KILLS` sets the kills of
the long one, and `CAMPAIGN_SEED` repeats one.
"""

import os
import time

import pytest
from crash_campaign import FAULT_RATE, Campaign
from faults_launcher import CRASH_POINTS


def run(lab, kills, waits):
    """Run a campaign, print its figures, and demand that all went well."""
    seed = int(os.environ.get("CAMPAIGN_SEED", time.time_ns() % 1_000_000))
    print(f"\nCAMPAIGN_SEED={seed}")
    rate = float(os.environ.get("CAMPAIGN_FAULT_RATE", FAULT_RATE))
    figures = Campaign(lab, kills, seed, waits=waits, fault_rate=rate).run()
    print(figures)
    assert not figures.stuck
    assert not figures.lost
    assert not figures.wrong
    assert not figures.left
    return figures


@pytest.mark.parametrize(("waits", "kills"), [(True, 20), (False, 8)])
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_some_kills(lab, waits, kills):
    """Kills at random moments and crash points leave no job stuck, lost or wrong."""
    figures = run(lab, kills, waits)
    assert figures.kills == kills
    assert sum(figures.outcomes.values()) == figures.jobs


@pytest.mark.campaign
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_two_hundred_kills(lab, waits):
    """Two hundred kills, seven at every crash point, leave no job stuck, lost or wrong."""
    kills = int(os.environ.get("CAMPAIGN_KILLS", "200"))
    figures = run(lab, kills, waits)
    assert figures.kills == kills
    assert min(figures.at_points[point] for point in CRASH_POINTS) >= kills // 2 // len(
        CRASH_POINTS
    )
