"""What the worker keeps on disk: who may read it, how it shrinks, and how much figures may take."""

import contextlib
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from waiting import BOUND_SEC, wait_until

from devaria.worker.server import LocalWorker
from devaria.worker.store import database
from devaria.worker.store.database import Database, DatabaseBusy
from devaria.worker.store.figures import GB, FigureStore
from devaria.worker.upkeep import Upkeep

HOUR_MS = 3600 * 1000
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes as POSIX has them")


def mode(path):
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


# Who may read it


@posix
@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_only_the_owner_reads_the_database(tmp_path, keys, umask):
    """Consoles and results are nobody else's business."""
    before = os.umask(umask)
    try:
        with LocalWorker(tmp_path / "data", port=0, keys=keys) as worker:
            worker.services.jobs.submit("t", {})
            files = sorted((tmp_path / "data").glob("jobs.sqlite3*"))
            assert len(files) == 3
            assert {mode(path) for path in files} == {0o600}
            assert mode(tmp_path / "data") == 0o700
    finally:
        os.umask(before)


@posix
def test_a_database_that_others_could_read_is_closed_to_them(tmp_path, keys):
    """An earlier version made it with the rights of the umask."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "jobs.sqlite3").touch(0o644)
    with LocalWorker(data, port=0, keys=keys):
        assert (mode(data), mode(data / "jobs.sqlite3")) == (0o700, 0o600)


# The database


def _fill(base, number):
    for each in range(number):
        base.execute(
            "INSERT INTO jobs (job_id, job_hash, job_type, input_params, created_at, updated_at,"
            " console_output) VALUES (?, ?, 't', '{}', 0, 0, ?)",
            *(str(each), str(each), "x" * 100_000),
        )


def test_the_database_shrinks_when_jobs_are_deleted(tmp_path):
    """The disk gets its space back."""
    path = tmp_path / "jobs.sqlite3"
    base = Database(path)
    with contextlib.closing(base):
        _fill(base, 100)
        full = path.stat().st_size
        assert full > 5_000_000
        base.execute("DELETE FROM jobs")
        base.shrink()
        assert path.stat().st_size < 200_000
        assert (tmp_path / "jobs.sqlite3-wal").stat().st_size < 200_000


def test_a_database_of_an_earlier_version_shrinks_too(tmp_path):
    """Its jobs are kept."""
    path = tmp_path / "jobs.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(database._SCHEMA)
        row = (
            "INSERT INTO jobs (job_id, job_hash, job_type, input_params, created_at, updated_at)"
            " VALUES ('kept', 'h', 't', '{}', 0, 0)"
        )
        old.execute(row)
        old.commit()
    base = Database(path)
    with contextlib.closing(base):
        _fill(base, 50)
        base.execute("DELETE FROM jobs WHERE job_id != 'kept'")
        base.shrink()
        assert path.stat().st_size < 200_000
        assert [row["job_id"] for row in base.execute("SELECT job_id FROM jobs").rows] == ["kept"]


def test_a_locked_database_is_503_with_retry_after(worker, http, monkeypatch):
    """A backup holds it: the client hears when to come again, and soon."""
    monkeypatch.setattr(database, "_LOCK_SEC", 0.1)
    path = worker._data_dir / "jobs.sqlite3"
    body = {"job_type": "t", "input_params": {}}
    url = f"{worker.url}/api/jobs/submit"
    headers = {"Authorization": "Bearer submit-key"}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reply = http.post(url, json=body, headers=headers, timeout=BOUND_SEC)
        assert reply.status_code == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.json() == {"error": "The database is busy; try again"}
        other.execute("ROLLBACK")
    wait_until(
        lambda: http.post(url, json=body, headers=headers, timeout=BOUND_SEC).status_code == 201
    )


def test_after_a_wait_in_vain_others_do_not_wait(tmp_path, monkeypatch):
    """They would hold all threads, for as long as another process holds the database."""
    monkeypatch.setattr(database, "_LOCK_SEC", 0.1)
    monkeypatch.setattr(database, "_PAUSE_SEC", BOUND_SEC)
    path = tmp_path / "jobs.sqlite3"
    held = Database(path)
    statement = "DELETE FROM jobs"
    with contextlib.closing(held), contextlib.closing(
        sqlite3.connect(path, isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="locked"):
            held.execute(statement)
        with pytest.raises(DatabaseBusy, match="another process"):
            held.execute(statement)
        held.execute("SELECT 1")
        other.execute("ROLLBACK")
        held._blocked_until = 0.001  # the pause is over
        held.execute(statement)
        assert held._blocked_until == 0


def test_the_time_for_a_lock_is_less_than_a_client_waits():
    """A request that waits holds a thread."""
    assert database._LOCK_SEC <= 3


# Upkeep


def test_upkeep_goes_on_after_a_failure(caplog):
    """The disk may be full once; the log says so."""
    done = []

    def fails():
        raise OSError("no space left")

    upkeep = Upkeep([(0.01, fails), (0.02, lambda: done.append(1))])
    upkeep.start()
    wait_until(lambda: len(done) > 2)
    upkeep.stop(BOUND_SEC)
    assert "Upkeep failed: no space left" in caplog.text


# Figures


@pytest.fixture
def store(tmp_path, clock):
    """A figure store."""
    return FigureStore(tmp_path / "figures", clock)


def save(store, figure_id, size, name="index.html"):
    """Store a file of that size."""
    path = store._root.parent / "content"
    path.write_bytes(b"x" * size)
    with path.open("rb") as content:
        store.save(figure_id, name, content, size)


def ids(store):
    """Return the ids of all figures on disk."""
    return {path.name for path in store._root.iterdir()} - {".incoming"}


def test_an_expired_figure_is_removed(store, clock):
    """It is kept to the last millisecond."""
    figure_id = store.create({})
    save(store, figure_id, 10)
    assert store.finalize(figure_id)
    clock.now += 24 * HOUR_MS - 1
    store.remove_old()
    assert ids(store) == {figure_id}
    clock.now += 1
    store.remove_old()
    assert ids(store) == set()
    assert list(store._incoming.iterdir()) == []


def test_an_upload_that_was_not_finished_is_removed(store, clock):
    """Its runner died, or lost its network."""
    figure_id = store.create({})
    save(store, figure_id, 10)
    clock.now += 6 * HOUR_MS - 1
    store.remove_old()
    assert ids(store) == {figure_id}
    clock.now += 1
    store.remove_old()
    assert ids(store) == set()
    with pytest.raises(ValueError, match="no such figure"):
        save(store, figure_id, 10)
    assert ids(store) == set()


def test_what_a_crash_left_is_removed_at_the_start(store, clock):
    """Half an upload, and a figure that was about to be made."""
    kept = store.create({})
    (store._incoming / "half").write_bytes(b"x")
    (store._root / ("a" * 32)).mkdir()
    (store._root / ("a" * 32) / "index.html").write_bytes(b"x")
    again = FigureStore(store._root, clock)
    assert ids(again) == {kept}
    assert list(again._incoming.iterdir()) == []


def test_a_worker_removes_old_figures_by_itself(tmp_path, keys, clock):
    """At its start, and later at regular times."""
    options = {"port": 0, "keys": keys, "clock": clock}
    with LocalWorker(tmp_path, **options) as worker:
        figure_id = worker.services.figures.create({})
        assert any(act == worker.services.figures.remove_old for _, act in worker._upkeep._duties)
    clock.now += 24 * HOUR_MS
    with LocalWorker(tmp_path, **options):
        assert not (tmp_path / "figures" / figure_id).exists()


class Uploader:
    """Uploads figures as figpack's client does."""

    def __init__(self, worker, http):
        self.worker, self.http = worker, http
        self.headers = {"X-API-Key": worker.keys.figure}

    def call(self, path, **body):
        """Call the figure API."""
        url = self.worker.figpack_api_url + path
        return self.http.post(url, json=body, headers=self.headers, timeout=BOUND_SEC)

    def upload(self, size):
        """Upload a figure of one file; return the answers to the calls."""
        replies = [self.call("/figures/create", totalSize=size)]
        if replies[-1].ok:
            url = replies[-1].json()["figure"]["figureUrl"]
            files = [{"relativePath": "index.html", "size": size}]
            replies.append(self.call("/upload", figureUrl=url, files=files))
        if replies[-1].ok:
            signed = replies[-1].json()["signedUrls"][0]["signedUrl"]
            replies.append(self.http.put(signed, data=b"x" * size, timeout=BOUND_SEC))
        if replies[-1].ok:
            replies.append(self.call("/figures/finalize", figureUrl=url))
        return [reply.status_code for reply in replies], replies[-1].json()


@pytest.fixture
def small(tmp_path, keys, clock, http):
    """Return an uploader to a worker whose figures may take 100 KB."""
    options = {"port": 0, "keys": keys, "clock": clock, "figures_quota_bytes": 100_000}
    with LocalWorker(tmp_path / "small", **options) as worker:
        yield Uploader(worker, http)


def test_a_full_store_refuses_a_figure_at_its_beginning(small):
    """The runner hears why, and where the limit is set."""
    assert small.upload(60_000)[0] == [201, 200, 200, 200]
    codes, body = small.upload(60_000)
    assert codes == [507]
    assert body["success"] is False
    assert "The figure store is full" in body["message"]
    assert "--figures-quota" in body["message"]
    assert small.upload(30_000)[0] == [201, 200, 200, 200]


@pytest.mark.parametrize("size", [120_000, -1, "x", None])
def test_a_figure_that_says_a_wrong_size_is_refused_later(small, size):
    """Each file counts, whatever was announced."""
    url = small.call("/figures/create").json()["figure"]["figureUrl"]
    files = [{"relativePath": "a", "size": 60_000}, {"relativePath": "b", "size": 60_000}]
    assert small.call("/upload", figureUrl=url, files=files).status_code == 507
    signed = [small.call("/upload", figureUrl=url, files=[file]).json() for file in files]
    codes = [
        small.http.put(
            each["signedUrls"][0]["signedUrl"], data=b"x" * 60_000, timeout=BOUND_SEC
        ).status_code
        for each in signed
    ]
    assert codes == [200, 507]
    assert small.call("/figures/create", totalSize=size).status_code == (
        507 if size == 120_000 else 201
    )


def test_expired_figures_make_room(small, clock):
    """Before an upload is refused, what has expired is removed."""
    assert small.upload(90_000)[0][-1] == 200
    assert small.upload(90_000)[0] == [507]
    clock.now += 24 * HOUR_MS
    assert small.upload(90_000)[0] == [201, 200, 200, 200]


def test_a_file_that_replaces_another_takes_its_room(store):
    """A figure that is uploaded twice counts once."""
    figure_id = store.create({})
    before = store._used_bytes
    for _ in range(3):
        save(store, figure_id, 1000)
    with pytest.raises(ValueError, match="were declared"), Path(__file__).open("rb") as content:
        store.save(figure_id, "other", content, 1)
    assert store._used_bytes - before == 1000


def test_the_room_of_a_figure_is_counted_to_the_byte(store, clock):
    """A worker that runs for months must not lose count."""
    figure_ids = [store.create({"title": "é" * n}) for n in range(5)]
    for figure_id in figure_ids:
        save(store, figure_id, 1000)
        store.finalize(figure_id)
    again = FigureStore(store._root, clock)
    assert store._used_bytes == again._used_bytes > 5_000
    clock.now += 24 * HOUR_MS
    store.remove_old()
    assert store._used_bytes == 0


def test_the_quota_is_20_gb_unless_told_otherwise(tmp_path, keys):
    """Zero is no limit."""
    with LocalWorker(tmp_path / "a", port=0, keys=keys) as worker:
        assert worker.services.figures._quota_bytes == 20 * GB
    with LocalWorker(tmp_path / "b", port=0, keys=keys, figures_quota_bytes=0) as worker:
        worker.services.figures.check_room(10**15)
