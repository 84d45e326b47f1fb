"""The command `devaria worker`, as an operator starts it."""

import re
import signal
import sys
from pathlib import Path

import pytest
import requests
from core_fixtures import Process, devaria

pytest.importorskip("flask")

KEYS = {
    "DEVARIA_RUNNER_API_KEY": "r-key",
    "DEVARIA_SUBMIT_API_KEY": "s",
    "DEVARIA_ADMIN_API_KEY": "a",
}


@pytest.mark.skipif(sys.platform == "win32", reason="ends it by SIGTERM")
def test_the_printed_figure_key_uploads_within_the_quota(tmp_path: Path) -> None:
    """It is not the runner key, and `--figures-quota` counts in GB."""
    command = ["-m", "devaria", "worker", "--port", "0", "--data", str(tmp_path / "data")]
    with Process(*command, "--figures-quota", "0.001", variables=KEYS) as worker:
        worker.wait_for_line("Serving on")
        printed = dict(re.findall(r"^export (\w+)=(.*)$", worker.output, re.M))
        assert printed["FIGPACK_API_KEY"] not in ("", *KEYS.values())
        headers = {"X-API-Key": printed["FIGPACK_API_KEY"]}
        url = printed["FIGPACK_API_BASE_URL"] + "/figures/create"
        codes = [
            requests.post(url, json={"totalSize": size}, headers=headers, timeout=30).status_code
            for size in (900_000, 1_000_001)
        ]
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert codes == [201, 507]


@pytest.mark.parametrize("quota", ["-1", "nan", "x"])
def test_a_quota_that_is_no_size_is_refused(quota: str) -> None:
    """It is a usage error."""
    assert devaria("worker", "--figures-quota", quota).returncode == 2
