"""The worker's API keys."""

import os
import re
import stat

import pytest

from devaria.worker.keys import KEYS_FILE, WorkerKeys

ENVIRON = {
    "DEVARIA_RUNNER_API_KEY": "r",
    "DEVARIA_SUBMIT_API_KEY": " s\n",
    "DEVARIA_ADMIN_API_KEY": "a",
}


def test_keys_of_the_environment_are_taken_stripped_and_not_written(tmp_path):
    """Keys that the operator gave stay out of the data directory."""
    keys = WorkerKeys.load_or_create(tmp_path, ENVIRON)
    assert keys == WorkerKeys(runner="r", submit="s", admin="a")
    assert list(tmp_path.iterdir()) == []


def test_keys_are_made_at_random_once_and_kept(tmp_path):
    """The second start finds the keys of the first, and another directory gets others."""
    first = WorkerKeys.load_or_create(tmp_path / "new" / "dir", {})
    assert WorkerKeys.load_or_create(tmp_path / "new" / "dir", {}) == first
    other = WorkerKeys.load_or_create(tmp_path / "other", {})
    keys = {first.runner, first.submit, first.admin, other.runner, other.submit, other.admin}
    assert len(keys) == 6
    assert min(len(key) for key in keys) == 64


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_the_keys_file_is_its_owners_alone(tmp_path):
    """Nobody else on the machine can read the keys, and no temporary copy is left."""
    old = os.umask(0)
    try:
        WorkerKeys.load_or_create(tmp_path, {})
    finally:
        os.umask(old)
    (path,) = tmp_path.iterdir()
    assert path.name == KEYS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["runner", "submit", "admin"])
def test_a_key_of_the_environment_goes_before_the_kept_one(tmp_path, name):
    """One variable replaces one key; an empty variable replaces none."""
    kept = WorkerKeys.load_or_create(tmp_path, {})
    variable = f"DEVARIA_{name.upper()}_API_KEY"
    keys = WorkerKeys.load_or_create(tmp_path, {variable: "given"})
    names = {"runner", "submit", "admin"}
    expected = {one: "given" if one == name else getattr(kept, one) for one in names}
    assert keys == WorkerKeys(**expected)
    assert WorkerKeys.load_or_create(tmp_path, {variable: " "}) == kept


def test_export_lines_can_be_pasted_into_a_shell(tmp_path):
    """There is one line for each key, with the variable that runners and submitters read."""
    keys = WorkerKeys.load_or_create(tmp_path, ENVIRON)
    assert keys.export_lines() == [
        "export DEVARIA_RUNNER_API_KEY=r",
        "export DEVARIA_SUBMIT_API_KEY=s",
        "export DEVARIA_ADMIN_API_KEY=a",
    ]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"runner": "a"}', b'{"runner": 1}']
)
def test_a_damaged_keys_file_is_an_error_and_not_replaced(tmp_path, content):
    """Runners hold the old keys, so the operator must decide what to do."""
    path = tmp_path / KEYS_FILE
    path.write_bytes(content)
    with pytest.raises(ValueError, match=KEYS_FILE):
        WorkerKeys.load_or_create(tmp_path, {})
    assert path.read_bytes() == content


@pytest.mark.parametrize("key", ["a b", "é", "a\tb", "a\x00"])
def test_a_key_that_no_header_can_carry_is_refused(tmp_path, key):
    """The message names the variable."""
    with pytest.raises(ValueError, match="DEVARIA_SUBMIT_API_KEY"):
        WorkerKeys.load_or_create(tmp_path, {**ENVIRON, "DEVARIA_SUBMIT_API_KEY": key})


def test_the_figure_key_is_one_of_its_own(tmp_path):
    """Jobs get it, so it must not be the runner key, nor lead to it; it lasts as long as that."""
    keys = WorkerKeys.load_or_create(tmp_path, {})
    others = {keys.runner, keys.submit, keys.admin, keys.dashboard_token}
    assert keys.figure not in others
    assert keys.figure == WorkerKeys.load_or_create(tmp_path, {}).figure
    assert keys.figure != WorkerKeys("another", keys.submit, keys.admin).figure
    assert re.fullmatch("[0-9a-f]{64}", keys.figure)


def test_the_figure_key_opens_uploads_and_nothing_else(worker, http):
    """What a job could get hold of claims and deletes no jobs."""
    key = worker.keys.figure
    url = worker.figpack_api_url + "/figures/create"
    assert http.post(url, json={}, headers={"X-API-Key": key}, timeout=10).status_code == 201
    bearer = {"Authorization": f"Bearer {key}", "X-Runner-ID": "x"}
    for path in ("/api/admin/stats", "/api/runner/jobs/available", "/api/jobs/x"):
        assert http.get(worker.url + path, headers=bearer, timeout=10).status_code == 401
