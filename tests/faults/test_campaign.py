"""The crash campaign, short by default; `pytest -m campaign` runs the long one."""

import os
import time

import pytest
from crash_campaign import Campaign
from faults_launcher import CRASH_POINTS


def run(lab, kills, waits):
    """Run a campaign, print its figures, and demand that all went well."""
    seed = int(os.environ.get("CAMPAIGN_SEED", time.time_ns() % 1_000_000))
    print(f"\nCAMPAIGN_SEED={seed}")
    figures = Campaign(lab, kills, seed, waits=waits).run()
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
    figures = run(lab, 200, waits)
    assert figures.kills == 200
    assert min(figures.at_points[point] for point in CRASH_POINTS) >= 7
