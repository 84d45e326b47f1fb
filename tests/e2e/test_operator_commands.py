"""The operator's commands: doctor, status, jobs, job, rerun, runners; --max-idle, --max-time."""

import contextlib
import json
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import click
import psutil
import pytest
import terminal
from processes import environment, finished, running, text_of
from scripted_server import ScriptedServer, as_json, ok
from waiting import BOUND_SEC, wait_until

from devaria.cli import main
from devaria.client.client import WorkerClient
from devaria.runner.status import RunnerStatus
from devaria.testing import local_worker

HANDLERS = '''
import time
from pathlib import Path
from devaria.jobs import JobHandler

class Stepwise(JobHandler):
    """Prints a line, and another one when a file is there; fails if that says so."""
    def execute(self, input_params, heartbeat_callback):
        go = Path(input_params["go"])
        print("line one \\x1b[31m of\\ta stranger", flush=True)
        self.progress(1, 4)
        while not go.exists():
            time.sleep(0.05)
        print("line two", flush=True)
        if go.read_text() == "fail":
            raise RuntimeError("the file says so")
        return {"read": go.read_text()}
'''
OPTIONS = ["--handlers", "lab:Stepwise", "--types", "stepwise,hello_world"]
HELLO = {"name": "Alice", "processing_time": 0}

#: Becomes the `devaria` command with a status file and heartbeats that a test need not wait for.
PROMPT = (
    "from devaria.cli import main; from devaria.common.timing import Timing; "
    "main(obj={'timing': Timing(status_sec=0.1, heartbeat_gap_sec=0.2)})"
)


def devaria(arguments: List[str], folder: Path, env: Dict[str, str]):
    """Run a devaria command to its end, and capture its outputs."""
    return finished([sys.executable, "-m", "devaria", *arguments], folder, env)


def on_terminal(arguments: List[str], folder: Path, env: Dict[str, str], columns: int = 100) -> str:
    """Run a devaria command to its end on a terminal, and return what it writes there."""
    command = [sys.executable, "-m", "devaria", *arguments]
    return terminal.on_terminal(command, folder, env, columns)[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a handler."""
    (tmp_path / "lab.py").write_text(HANDLERS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def worker() -> Iterator[Any]:
    """A local worker."""
    with local_worker() as serving:
        yield serving


@pytest.fixture
def env(worker: Any) -> Dict[str, str]:
    """A shell with the worker's URL and keys, and a runner that polls quickly."""
    return environment(
        DEVARIA_WORKER_URL=worker.url,
        DEVARIA_RUNNER_API_KEY=worker.keys.runner,
        DEVARIA_SUBMIT_API_KEY=worker.keys.submit,
        DEVARIA_POLL_INTERVAL="0.2",
    )


@pytest.fixture
def client(worker: Any) -> Iterator[WorkerClient]:
    """A client that submits."""
    each = WorkerClient(worker.url, worker.keys.submit)
    yield each
    each.close()


@contextlib.contextmanager
def a_runner(folder: Path, env: Dict[str, str], *options: str):
    """Run a runner in a folder; it has polled when the block begins."""
    command = [sys.executable, "-c", PROMPT, "runner", *OPTIONS, *options]
    with running(command, folder, env, folder / "runner.out") as process:
        wait_until(lambda: "Polling" in text_of(folder / "devaria_runner.log"), "it polls")
        yield process


def checks_of(done: Any) -> Dict[str, Dict[str, str]]:
    """Return the doctor's checks by name."""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


# --- doctor ------------------------------------------------------------------------------------


def test_doctor_finds_all_well(folder: Path, env: Dict[str, str], worker: Any) -> None:
    """Everything that a runner needs is checked, nothing is changed, and no key is shown."""
    before = sorted(folder.iterdir())
    well = {**env, "FIGPACK_API_KEY": worker.keys.runner, "DEVARIA_INSECURE": "1"}
    well["FIGPACK_API_BASE_URL"] = worker.figpack_api_url
    done = devaria(["doctor", "--dir", "."], folder, well)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["works"] is True
    found = checks_of(done)
    assert [check for check in found.values() if check["state"] != "ok"] == []
    assert re.fullmatch(rf"{worker.url} answered 200 in \d+ ms", found["worker"]["found"])
    assert "within 0 s" in found["clock"]["found"] or "within 1 s" in found["clock"]["found"]
    assert "requests 2" in found["packages"]["found"]
    assert found["registration"]["found"] == "none here yet; the first start registers"
    assert "does not refuse the key" in found["figpack"]["found"]
    for name in ("Python", "runner key", "key accepted", "lock", "disk space (directory)"):
        assert name in found
    origins = {each["setting"]: each["from"] for each in told["settings"]}
    assert origins["--dir"] == "option"
    assert origins["--poll-interval"] == origins["--insecure"] == "environment"
    assert origins["DEVARIA_RUNNER_API_KEY"] == "environment"
    assert origins["--job-timeout"] == "default"
    assert worker.keys.runner not in done.stdout + done.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("settings", "options", "code", "check"),
    [
        ({"DEVARIA_RUNNER_API_KEY": ""}, [], 3, "runner key"),
        ({"DEVARIA_RUNNER_API_KEY": "kéy"}, [], 7, "runner key"),
        ({"DEVARIA_RUNNER_API_KEY": "wrong"}, [], 4, "key accepted"),
        ({"DEVARIA_TYPES": "nothing"}, [], 7, "job type nothing"),
        ({}, ["--types", "figpack_nwb_raster_plot"], 7, "job type figpack_nwb_raster_plot"),
        ({}, ["--types", "gone", "--handlers", "gone=no_such:Class"], 7, "job type gone"),
        ({}, ["--dir", "lab.py"], 7, "directory"),
        ({}, ["--worker-url", "http://example.org"], 7, "worker"),
        ({"DEVARIA_POLL_INTERVAL": "soon"}, [], 2, None),
    ],
)
def test_doctor_refuses_what_a_runner_refuses(
    folder: Path,
    env: Dict[str, str],
    settings: Dict[str, str],
    options: List[str],
    code: int,
    check,
) -> None:
    """For each error that ends a runner at its start, the doctor fails and gives advice."""
    ill = {**env, **settings}
    done = devaria(["doctor", *options], folder, ill)
    assert devaria(["runner", "--burst", *options], folder, ill).returncode == code
    if check is None:
        assert done.returncode == code
        assert "'--poll-interval' (env var: 'DEVARIA_POLL_INTERVAL')" in done.stderr
        return
    assert done.returncode == 7, done.stdout
    assert checks_of(done)[check]["state"] == "failure"
    assert checks_of(done)[check]["advice"]


def test_doctor_where_the_worker_is_down(folder: Path, env: Dict[str, str]) -> None:
    """A refused connection is one failed check, and the other checks go on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{holder.getsockname()[1]}"
        done = devaria(["doctor", "--worker-url", url], folder, env)
    assert done.returncode == 7
    assert checks_of(done)["worker"]["found"].startswith(f"{url}: ")
    assert checks_of(done)["worker"]["found"].endswith("Connection refused")
    assert checks_of(done)["job type hello_world"]["state"] == "ok"


def test_doctor_takes_no_key_to_an_insecure_url(folder: Path, env: Dict[str, str]) -> None:
    """If a runner would refuse the URL, the doctor sends nothing to it."""
    (folder / ".devaria_runner.json").write_text('{"runner_id": "r", "runner_name": "n"}')
    with ScriptedServer() as server:
        url = server.url.replace("127.0.0.1", "0.0.0.0")
        done = devaria(["doctor", "--worker-url", url], folder, env)
        assert done.returncode == 7
        assert "plain http" in checks_of(done)["worker"]["found"]
        assert server.requests == []


def test_doctor_beside_a_runner(folder: Path, env: Dict[str, str]) -> None:
    """The lock is held by the runner, whose registration is known."""
    with a_runner(folder, env):
        done = devaria(["doctor"], folder, env)
    found = checks_of(done)
    assert done.returncode == 7
    assert "a runner already works in" in found["lock"]["found"]
    assert found["registration"]["found"].startswith("runner-")


def test_doctor_on_a_terminal(folder: Path, env: Dict[str, str]) -> None:
    """The tables are no wider than the terminal."""
    seen = on_terminal(["doctor"], folder, {**env, "DEVARIA_RUNNER_API_KEY": ""}, columns=80)
    assert re.search(r"^check +state +found +what to do$", seen, re.M)
    assert re.search(r"^runner key +failure ", seen, re.M)
    assert re.search(r"^setting +value +from$", seen, re.M)
    assert max(map(len, seen.splitlines())) <= 80


# --- status ------------------------------------------------------------------------------------


def test_status_tells_a_runners_life(
    folder: Path, env: Dict[str, str], client: WorkerClient
) -> None:
    """Before its start, during a job, and after a kill during the next job."""
    done = devaria(["status"], folder, env)
    assert (done.returncode, json.loads(done.stdout)["health"]) == (1, "not running")

    def told() -> Dict[str, Any]:
        content = json.loads(devaria(["status", "--dir", str(folder)], folder.parent, env).stdout)
        return {"owed": content["owed"], "health": content["health"], **content["status"]}

    def written() -> RunnerStatus:
        status = RunnerStatus.load(folder)
        assert status is not None
        return status

    with a_runner(folder, env) as process:
        first = client.submit("stepwise", {"go": str(folder / "first")}).job_id
        wait_until(lambda: written().progress_current == 1, "the status shows the progress")
        now = told()
        assert (now["health"], now["pid"], now["job_id"]) == ("healthy", process.pid, first)
        assert now["started_at"] <= now["job_started_at"] <= now["last_contact_at"] + 60
        assert [(job["job_id"], job["state"]) for job in now["owed"]] == [(first, "running")]
        seen = on_terminal(["status"], folder, env)
        assert re.search(rf"^job +{first} \(stepwise\), started \d+ s ago, 25 %$", seen, re.M)
        assert "owed" not in seen

        (folder / "first").write_text("fail")
        wait_until(lambda: written().jobs_failed == 1, "the status counts the failure")
        assert told()["job_id"] is None
        assert devaria(["status"], folder, env).returncode == 0

        second = client.submit("stepwise", {"go": str(folder / "second")}).job_id
        wait_until(lambda: written().job_id == second, "the status shows the second job")
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(BOUND_SEC)
        psutil.wait_procs(children, timeout=BOUND_SEC)
    dead = devaria(["status"], folder, env)
    assert dead.returncode == 1
    assert [job["job_id"] for job in json.loads(dead.stdout)["owed"]] == [second]
    seen = on_terminal(["status"], folder, env)
    assert f"owed          {second} (stepwise), left in the middle; the next start" in seen

    (folder / "second").write_text("well")
    assert devaria(["runner", *OPTIONS, "--burst"], folder, env).returncode == 0
    assert told()["jobs_completed"] == 1
    assert told()["owed"] == []


# --- jobs, job, rerun, runners -----------------------------------------------------------------


def test_jobs_lists_by_status_and_limit(
    folder: Path, env: Dict[str, str], client: WorkerClient
) -> None:
    """Prints JSON to a pipe and a table to a terminal, with control characters escaped."""
    evil = client.submit("\x1b]0;evil\x07\nforged " + "x" * 300, {}).job_id
    newest = client.submit("hello_world", {**HELLO, "name": "listed"}).job_id
    rows = json.loads(devaria(["jobs", "--limit", "2"], folder, env).stdout)
    assert [row["job_id"] for row in rows] == [newest, evil]
    assert (rows[0]["status"], rows[0]["job_type"]) == ("pending", "hello_world")
    seen = on_terminal(["jobs"], folder, env)
    assert re.search(rf"^{newest}  hello_world +pending +\d+ s$", seen, re.M)
    (line,) = [line for line in seen.splitlines() if line.startswith(evil)]
    assert "\\x1b]0;evil\\x07 forged" in line
    assert len(line) < 150
    assert "\x1b" not in seen
    assert devaria(["runner", "--types", "hello_world", "--burst"], folder, env).returncode == 0
    completed = json.loads(devaria(["jobs", "--status", "completed"], folder, env).stdout)
    assert newest in [row["job_id"] for row in completed]
    assert {row["status"] for row in completed} == {"completed"}


def test_job_follows_shows_and_reruns(
    folder: Path, env: Dict[str, str], client: WorkerClient
) -> None:
    """The console is followed while the job runs, the failure is shown, and the rerun completes."""
    with a_runner(folder, env):
        job_id = client.submit("stepwise", {"go": str(folder / "go")}).job_id
        output = folder / "followed"
        command = [sys.executable, "-m", "devaria", "job", job_id, "--follow"]
        with output.open("wb") as file:
            following = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)
        wait_until(lambda: "line one" in text_of(output), "the console is followed")
        assert following.poll() is None
        (folder / "go").write_text("fail")
        assert following.wait(BOUND_SEC) == 1
        followed = text_of(output)
        assert followed.startswith("line one \\x1b[31m of\ta stranger\nline two\n")
        assert followed.count("line one") == 1
        failure = "Job execution failed: RuntimeError: the file says so"
        assert f"Job {job_id} failed: {failure}\n" in followed

        shown = json.loads(devaria(["job", job_id], folder, env).stdout)
        assert (shown["status"], shown["error"]) == ("failed", failure)
        assert shown["input_params"] == {"go": str(folder / "go")}
        console = devaria(["job", job_id, "--console"], folder, env).stdout
        assert console.startswith("line one \\x1b[31m of")
        assert "Traceback" in console
        seen = on_terminal(["job", job_id], folder, env)
        assert re.search(rf"^error +{failure}$", seen, re.M)
        assert re.search(r"^runner +[0-9a-f-]{36}$", seen, re.M)
        assert "\x1b" not in seen

        again = client.submit("stepwise", {"go": str(folder / "go")})
        assert (again.job_id, again.status) == (job_id, "failed")
        (folder / "go").write_text("well")
        rerun = devaria(["rerun", job_id, "--wait"], folder, env)
        assert rerun.returncode == 0, rerun.stderr
        assert json.loads(rerun.stdout) == {"read": "well"}
        new_id = re.findall(r"^Job (\S+): pending$", rerun.stderr, re.M)[0]
        assert devaria(["job", new_id, "--follow"], folder, env).returncode == 0
    assert devaria(["job", job_id], folder, env).returncode == 1


def test_rerun_deletes_nothing_with_a_wrong_key(
    folder: Path, env: Dict[str, str], client: WorkerClient
) -> None:
    """If either key is refused, the job stays."""
    job_id = client.submit("stepwise", {"go": "nowhere"}).job_id
    for variable in ("DEVARIA_SUBMIT_API_KEY", "DEVARIA_RUNNER_API_KEY"):
        done = devaria(["rerun", job_id], folder, {**env, variable: "wrong"})
        assert done.returncode == 4, done.stderr
        assert client.job(job_id).status == "pending"
    assert devaria(["rerun", job_id], folder, env).returncode == 0


def scripted_job(server: ScriptedServer, *submissions: Any) -> None:
    """Let a server have one failed job, which can be deleted and submitted."""
    job = {"job_id": "j-1", "job_type": "a b", "status": "failed", "input_params": {"x": "it's"}}
    server.on("GET /api/admin/jobs/*", ok(**job))
    server.on("GET /api/jobs/*", ok(**job))
    server.on("DELETE /api/admin/jobs/*", ok(success=True, message="ok"))
    server.on("POST /api/jobs/submit", *submissions)


def test_rerun_submits_again_where_the_worker_stumbles(folder: Path, env: Dict[str, str]) -> None:
    """After the deletion only the command knows the job, so a bad answer must not lose it."""
    with ScriptedServer() as server:
        busy = as_json({"error": "Rate limit exceeded"}, 429)
        scripted_job(server, busy, as_json({"job_id": "j-2", "status": "pending"}, 201))
        done = devaria(["rerun", "j-1", "--worker-url", server.url], folder, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Job j-2: pending\n"


def test_rerun_that_fails_says_how_to_submit(folder: Path, env: Dict[str, str]) -> None:
    """If the worker refuses the new job, its parameters are not lost with the old one."""
    with ScriptedServer() as server:
        scripted_job(server, as_json({"error": "no"}, 400))
        done = devaria(["rerun", "j-1", "--worker-url", server.url], folder, env)
    assert done.returncode == 1
    command = next(line for line in done.stderr.splitlines() if "devaria submit" in line)
    assert shlex.split(command) == ["devaria", "submit", "a b", "--params", '{"x": "it\'s"}']


def test_runners_lists_who_registered(folder: Path, env: Dict[str, str], worker: Any) -> None:
    """The admin key alone suffices, and a runner that polls is active."""
    admin = {**env, "DEVARIA_ADMIN_API_KEY": worker.keys.admin, "DEVARIA_RUNNER_API_KEY": ""}
    with a_runner(folder, env):
        runner_id = json.loads(text_of(folder / ".devaria_runner.json"))["runner_id"]
        rows = json.loads(devaria(["runners"], folder, admin).stdout)
        (row,) = [row for row in rows if row["runner_id"] == runner_id]
        assert row["is_active"] is True
        assert sorted(row["job_types"]) == ["hello_world", "stepwise"]
        seen = on_terminal(["runners"], folder, env, columns=150)
        assert re.search(rf"^runner-\S+ +active +\d+ s +{runner_id} +stepwise, hello", seen, re.M)


def test_a_key_is_asked_for(folder: Path, env: Dict[str, str]) -> None:
    """Lists need a key; showing a job does not."""
    none = {**env, "DEVARIA_RUNNER_API_KEY": "", "DEVARIA_SUBMIT_API_KEY": ""}
    assert devaria(["jobs"], folder, none).returncode == 3
    assert devaria(["runners"], folder, none).returncode == 3
    done = devaria(["job", "no-such-job"], folder, none)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Job not found" in done.stderr


# --- bounds, help ------------------------------------------------------------------------------


def test_max_idle_ends_a_runner_that_finds_nothing(
    folder: Path, env: Dict[str, str], client: WorkerClient
) -> None:
    """It runs the pending job, and ends after a second without a job."""
    job_id = client.submit("hello_world", {**HELLO, "name": "idle"}).job_id
    started = time.monotonic()
    done = devaria(["runner", "--types", "hello_world", "--max-idle", "1"], folder, env)
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - started >= 1
    assert client.job(job_id).status == "completed"
    assert "Ended after 1 job" in done.stdout


def test_max_time_claims_nothing_more(
    folder: Path, env: Dict[str, str], client: WorkerClient
) -> None:
    """The running job is finished and reported; the next one stays pending."""
    params = [{"name": name, "processing_time": 2} for name in ("in time", "too late")]
    first, second = [client.submit("hello_world", each).job_id for each in params]
    done = devaria(["runner", "--types", "hello_world", "--max-time", "1"], folder, env)
    assert done.returncode == 0, done.stdout
    assert client.job(first).status == "completed"
    assert client.job(second).status == "pending"


@pytest.mark.parametrize("name", sorted(main.commands))
def test_help_ends_in_two_examples_that_can_be_run(name: str) -> None:
    """Each example parses with the options and values that its command takes."""
    command = main.commands[name]
    text = command.get_help(click.Context(command, info_name=name, parent=click.Context(main)))
    examples = [shlex.split(line) for line in text.partition("Examples:\n")[2].splitlines() if line]
    assert len(examples) == 2
    for program, command_name, *arguments in examples:
        assert (program, command_name) == ("devaria", name)
        command.make_context(name, arguments)
