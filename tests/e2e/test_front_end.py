"""The browser front end's whole way: check, submit with its parameters, ask until it is done.

It then shows the figure of `result.output_data.figpack_url`, and reads no other field.
"""

import re
from typing import Any, Dict, Iterator

import pytest
import requests
from processes import environment, running
from waiting import wait_until

from devaria.cli.demonstration import file_server
from devaria.cli.worker import _job_forms
from devaria.nwb.synthetic import MOVIE_PATH, POSE_PATH, UNITS_PATH, write_synthetic_nwb
from devaria.worker.server import LocalWorker

pytest.importorskip("av", reason="av is not installed: no video previews")

#: The parameter that each job type takes its path in, and the path in the synthetic file.
PATHS = {
    "figpack_nwb_raster_plot": {"units_path": UNITS_PATH},
    "figpack_nwb_pose_estimation": {"path": POSE_PATH},
    "figpack_nwb_video_preview": {"image_series_path": MOVIE_PATH},
}


class FrontEnd:
    """A page that submits jobs."""

    def __init__(self, worker: LocalWorker, nwb_url: str) -> None:
        self.nwb_url = nwb_url
        self._url = worker.url
        self._headers = {"Authorization": f"Bearer {worker.keys.submit}"}

    def post(self, route: str, body: Dict[str, Any]) -> Dict[str, Any]:
        """Send JSON to a route for submitters; return the answer."""
        url = f"{self._url}/api/jobs/{route}"
        answer = requests.post(url, json=body, headers=self._headers, timeout=10)
        assert answer.ok, answer.text
        return dict(answer.json())

    def job(self, job_id: str) -> Dict[str, Any]:
        """Ask for a job, as its button "Refresh" does."""
        url = f"{self._url}/api/jobs/{job_id}"
        return dict(requests.get(url, headers=self._headers, timeout=10).json())

    def completed(self, body: Dict[str, Any]) -> Dict[str, Any]:
        """Submit a job, and ask until it has ended; return its result."""
        job_id = self.post("submit", body)["job_id"]
        wait_until(lambda: self.job(job_id)["status"] in ("completed", "failed"), "the job ends")
        job = self.job(job_id)
        assert job["status"] == "completed", job
        return dict(job["result"]["output_data"])


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run a worker with the forms that `devaria worker` gives it."""
    folder = tmp_path_factory.mktemp("worker")
    with LocalWorker(folder, port=0, rate_limit=False, job_forms=_job_forms(())) as running_worker:
        yield running_worker


def runner_env(worker: LocalWorker) -> Dict[str, str]:
    """Return what a runner needs in its environment to draw figures."""
    return environment(
        DEVARIA_WORKER_URL=worker.url,
        DEVARIA_RUNNER_API_KEY=worker.keys.runner,
        DEVARIA_POLL_INTERVAL="0.2",
        DEVARIA_ALLOW_HOSTS="127.0.0.1",
        FIGPACK_API_KEY=worker.keys.runner,
        FIGPACK_API_BASE_URL=worker.figpack_api_url,
    )


@pytest.fixture(scope="module")
def front_end(worker: LocalWorker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEnd]:
    """Serve a file, and run a runner that draws what it holds."""
    files, folder = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("runner")
    write_synthetic_nwb(files / "file.nwb", num_units=5, duration_sec=20, pose_sec=5, movie_sec=5)
    command = ["devaria", "runner"]
    with file_server(files) as url, running(command, folder, runner_env(worker), folder / "out"):
        yield FrontEnd(worker, f"{url}/file.nwb")


@pytest.mark.parametrize("job_type", PATHS)
def test_from_the_button_to_the_figure(job_type: str, front_end: FrontEnd) -> None:
    """The job is new, is done, holds what was sent, and is known the next time."""
    page = f"https://neurosift.app/nwb?url={front_end.nwb_url}&dandisetId=000123"
    sent = {
        "nwb_url": front_end.nwb_url,
        **PATHS[job_type],
        "neurosift_url": page,
        "dandiset_id": "000123",
    }
    body = {"job_type": job_type, "input_params": sent}
    assert front_end.post("check", body)["exists"] is False
    result = front_end.completed(body)
    assert {name: result[name] for name in sent} == sent
    assert "<html" in requests.get(result["figpack_url"], timeout=10).text
    again = front_end.post("check", body)
    assert (again["exists"], again["status"]) == (True, "completed")
    assert again["result"]["output_data"]["figpack_url"] == result["figpack_url"]
    metadata = result["figpack_url"].replace("index.html", "data.zarr/.zmetadata")
    description = requests.get(metadata, timeout=10).json()["metadata"][".zattrs"]["description"]
    assert f"Neurosift: <{page}>" in description
    assert "Dandiset: `000123`" in description


@pytest.mark.parametrize("job_type", PATHS)
def test_odd_optional_parameters_do_not_fail_a_job(job_type: str, front_end: FrontEnd) -> None:
    """What is no text counts as not given; what no handler knows is left alone."""
    sent = {
        "nwb_url": front_end.nwb_url,
        **PATHS[job_type],
        "neurosift_url": None,
        "dandiset_id": 123,
        "something_new": {"a": [1]},
    }
    result = front_end.completed({"job_type": job_type, "input_params": sent})
    assert not {"neurosift_url", "dandiset_id", "something_new"} & set(result)


@pytest.mark.parametrize("job_type", PATHS)
def test_the_dashboard_has_a_form(job_type: str, worker: LocalWorker) -> None:
    """It asks for each parameter; the URL and the path are required, the others are not."""
    with requests.Session() as session:
        home = session.get(worker.dashboard_url, timeout=10).url
        url = f"{home}/submit?type={job_type}"
        page = session.get(url, timeout=10).text
    fields = dict(re.findall(r'name="param-(\w+)"([^>]*)>', page))
    required = {name for name, rest in fields.items() if "required" in rest}
    assert required == {"nwb_url", *PATHS[job_type]}
    assert {"neurosift_url", "dandiset_id"} <= set(fields)
