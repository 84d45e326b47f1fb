"""Starting and stopping the local worker."""

import contextlib
import inspect
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
import waitress.trigger
from waiting import BOUND_SEC, wait_until

import devaria.worker
from devaria.worker.keys import WorkerKeys
from devaria.worker.server import IDLE_SEC, LocalWorker

#: Stopping takes milliseconds; this tells it from a wait for the 10 s of a hanging request.
STOP_BOUND_SEC = 5


def _threads():
    """Return the threads of all workers in this process, those of other tests included."""
    names = ("waitress", "devaria-worker")
    return {thread for thread in threading.enumerate() if thread.name.startswith(names)}


def test_a_started_worker_answers_under_its_url(worker, http):
    """With port 0 the URL names the port that was free."""
    assert worker.url.startswith("http://127.0.0.1:")
    assert worker.figpack_api_url == worker.url + "/figpack"
    assert http.get(worker.url + "/health", timeout=10).json()["status"] == "ok"


def test_a_worker_without_given_keys_has_those_of_its_data_directory(tmp_path, http):
    """The keys are known before the start, and are the same for the next worker there."""
    worker = LocalWorker(tmp_path, port=0)
    assert worker.keys == WorkerKeys.load_or_create(tmp_path, {})
    with worker:
        headers = {"Authorization": f"Bearer {worker.keys.admin}"}
        assert http.get(f"{worker.url}/api/admin/stats", headers=headers, timeout=10).ok
    assert LocalWorker(tmp_path, port=0).keys == worker.keys


def test_the_default_address_is_loopback_8787(tmp_path):
    """By default, other machines cannot reach a worker."""
    assert LocalWorker(tmp_path).url == "http://127.0.0.1:8787"


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("lab", "http://lab:1")],
)
def test_the_url_is_one_that_this_machine_can_open(tmp_path, host, url):
    """An address that stands for all of the machine's is replaced by loopback."""
    assert LocalWorker(tmp_path, host=host, port=1).url == url


def test_a_taken_port_is_an_error_that_names_the_reason(tmp_path, keys):
    """The message names the address, and the failed start leaves no thread behind."""
    before = _threads()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = LocalWorker(tmp_path, port=port, keys=keys)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
            worker.start()
        worker.stop()
    assert _threads() == before
    with worker:
        assert requests.get(worker.url + "/health", timeout=10).ok


def test_an_address_of_another_machine_is_an_error(tmp_path, keys):
    """No machine has the address 192.0.2.1."""
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:"):
        LocalWorker(tmp_path, host="192.0.2.1", port=0, keys=keys).start()


def test_a_data_directory_that_cannot_be_made_frees_the_port(tmp_path, keys):
    """After the error, another worker can listen on the same port."""
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="file"):
        LocalWorker(tmp_path / "file" / "data", port=port, keys=keys).start()
    with LocalWorker(tmp_path / "data", port=port, keys=keys) as worker:
        assert requests.get(worker.url + "/health", timeout=10).ok


def test_stopping_is_prompt_with_open_connections_and_ends_the_threads(tmp_path, keys):
    """Idle keep-alive connections, and one in the middle of a request, are closed."""
    before = _threads()
    worker = LocalWorker(tmp_path, port=0, keys=keys)
    worker.start()
    address = ("127.0.0.1", int(worker.url.rpartition(":")[2]))
    with requests.Session() as idle, socket.create_connection(address) as half:
        assert idle.get(worker.url + "/health", timeout=10).ok
        head = f"POST /api/jobs/submit HTTP/1.1\r\nAuthorization: Bearer {keys.submit}\r\n"
        half.sendall(f"{head}Host: x\r\nContent-Length: 10\r\n\r\n{{".encode())
        start = time.monotonic()
        worker.stop()
        assert time.monotonic() - start < STOP_BOUND_SEC
        half.settimeout(5)
        assert half.recv(1) == b""
        with pytest.raises(requests.ConnectionError):
            idle.get(worker.url + "/health", timeout=10)
    wait_until(lambda: _threads() == before)


def test_stopping_does_not_wait_for_a_figure_host_that_hangs(tmp_path, http, keys):
    """A request that hangs in the network delays the stop by two seconds."""
    before = _threads()
    worker = LocalWorker(tmp_path, port=0, keys=keys, allow_hosts=["127.0.0.1"])
    worker.start()
    bearer = {"Authorization": f"Bearer {keys.runner}"}
    api = f"{worker.url}/api"
    body = {"name": "r", "capabilities": ["t"]}
    reply = http.post(f"{api}/runner/register", json=body, headers=bearer, timeout=10)
    runner = {**bearer, "X-Runner-ID": reply.json()["runner_id"]}
    submission = {
        "url": f"{api}/jobs/submit",
        "json": {"job_type": "t", "input_params": {}},
        "headers": {"Authorization": f"Bearer {keys.submit}"},
        "timeout": 10,
    }
    job_id = http.post(**submission).json()["job_id"]
    http.post(f"{api}/runner/jobs/{job_id}/claim", headers=runner, timeout=10)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(BOUND_SEC)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/f/index.html"
        report = {"output_data": {"figpack_url": url}, "console_output": ""}
        path = f"{api}/runner/jobs/{job_id}/complete"
        assert http.post(path, json=report, headers=runner, timeout=10).ok

        def submit():
            with pytest.raises(requests.ConnectionError):
                requests.post(**submission)

        submitter = threading.Thread(target=submit)
        submitter.start()
        asking, _ = silent.accept()
        start = time.monotonic()
        worker.stop()
        assert time.monotonic() - start < STOP_BOUND_SEC
        asking.close()
        submitter.join()
    wait_until(lambda: _threads() == before)


def test_stopping_while_a_request_ends(tmp_path, keys, monkeypatch):
    """A request that ends at the moment of the stop wakes the loop early; the stop still works."""
    pull = waitress.trigger.trigger._physical_pull

    def pull_after_another(trigger):
        pull(trigger)  # as the thread of a request that ends
        with contextlib.suppress(AssertionError):  # right is that the loop waits for this thread
            wait_until(lambda: trigger._closed, bound_sec=0.2)
        pull(trigger)

    worker = LocalWorker(tmp_path, port=0, keys=keys)
    worker.start()
    monkeypatch.setattr(waitress.trigger.trigger, "_physical_pull", pull_after_another)
    worker.stop()


def test_stopping_twice_or_before_the_start_does_nothing(tmp_path, keys):
    """A caller need not know whether the start succeeded."""
    worker = LocalWorker(tmp_path, port=0, keys=keys)
    worker.stop()
    worker.start()
    worker.stop()
    worker.stop()


def test_a_worker_starts_again_with_its_jobs(tmp_path, keys, http):
    """Jobs are kept over a restart, and the port is free at once."""
    worker = LocalWorker(tmp_path, port=0, keys=keys)
    headers = {"Authorization": f"Bearer {keys.submit}"}
    body = {"job_type": "t", "input_params": {}}
    codes = []
    for _ in range(2):
        with worker:
            path = f"{worker.url}/api/jobs/submit"
            codes.append(http.post(path, json=body, headers=headers, timeout=10).status_code)
    assert codes == [201, 200]


def test_rate_limits_are_on_unless_turned_off(tmp_path, keys, http):
    """The eleventh submission of a minute is refused by a worker with limits."""
    headers = {"Authorization": f"Bearer {keys.submit}"}
    body = {"job_type": "t", "input_params": {}}
    for limited, expected in ((True, 429), (False, 200)):
        with LocalWorker(tmp_path, port=0, keys=keys, rate_limit=limited) as worker:
            path = f"{worker.url}/api/jobs/submit"
            replies = [http.post(path, json=body, headers=headers, timeout=10) for _ in range(11)]
        assert replies[-1].status_code == expected


def test_idle_connections_are_closed_after_their_time(tmp_path, keys):
    """A runner that polls every 30 s meets this at each poll: the time is 5 s by default."""
    assert inspect.signature(LocalWorker).parameters["idle_sec"].default == IDLE_SEC == 5
    with LocalWorker(tmp_path, port=0, keys=keys, idle_sec=1) as worker:
        address = ("127.0.0.1", int(worker.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=10) as connection:
            start = time.monotonic()
            assert connection.recv(1) == b""
            assert 0.9 < time.monotonic() - start < 4.5


@pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")
def test_a_worker_process_may_open_a_file_for_each_connection():
    """Some systems allow 256. What the system does not allow stays as it is."""
    code = (
        "import resource\n"
        "from devaria.worker.main import allow_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 500))\n"
        "for number in (100, 300, 600):\n"
        "    allow_open_files(number)\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = [sys.executable, "-c", code]
    output = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert output == "(200, 500)\n(300, 500)\n(500, 500)\n"


def test_the_package_is_light_to_import():
    """Importing the package alone brings neither flask nor waitress nor requests."""
    code = (
        "import sys, devaria.worker, devaria.worker.keys\n"
        "print(sorted({'flask', 'waitress', 'requests'} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_worker_imports_nothing_of_the_runner():
    """The worker shares no code with the runner, so that neither side is tested against itself.

    Only `devaria.common` is shared, such as how JavaScript writes JSON; it has tests of its own.
    """
    code = (
        "import sys, devaria.worker.server\n"
        "print(sorted(name for name in sys.modules if name.startswith('devaria.')\n"
        "             and not name.startswith(('devaria.worker', 'devaria.common'))))"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"


#: The parts of the worker; each may import itself and the parts after it.
PARTS = ("main", "server", "upkeep", "connections", "app", "dashboard", "api", "store", "keys")


def test_each_part_of_the_worker_imports_only_parts_below_it():
    """Stores know no routes, and routes of the API know no pages."""
    root = Path(devaria.worker.__file__).parent
    for path in root.rglob("*.py"):
        part = path.relative_to(root).with_suffix("").parts[0]
        imported = re.findall(r"^ *from devaria\.worker\.(\w+)", path.read_text("utf-8"), re.M)
        assert part == "__init__" or set(imported) <= set(PARTS[PARTS.index(part) :]), path
