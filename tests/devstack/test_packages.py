"""Jars are put in place once, whole, and only when their checksum is the one in the lock file."""

import threading
from pathlib import Path

import pytest

from devstack.errors import DevstackError
from devstack.locking import ROOTS, lock_file
from devstack.maven import ensure_jars, read_lock
from tests.devstack.conftest import Repository


def test_jars_are_fetched_and_named_as_in_maven(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text(f"# a comment\n{repository.add('first', b'one')}\n{repository.add('second', b'two')}\n")
    folder = ensure_jars("example", lock, cache, lambda _message: None)
    assert {jar.name: jar.read_bytes() for jar in folder.iterdir()} == {
        "first-1.0.jar": b"one",
        "second-1.0.jar": b"two",
    }


def test_a_second_time_asks_nobody(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text(repository.add("first", b"one"))
    folder = ensure_jars("example", lock, cache, lambda _message: None)
    repository.asked.clear()
    assert ensure_jars("example", lock, cache, lambda _message: None) == folder
    assert repository.asked == []


def test_a_wrong_checksum_is_refused(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text(repository.add("first", b"one"))
    repository.add("first", b"tampered with")
    with pytest.raises(DevstackError) as caught:
        ensure_jars("example", lock, cache, lambda _message: None)
    assert "checksum mismatch for org.example:first:1.0" in str(caught.value)
    assert "Next step:" in str(caught.value)
    assert list(cache.rglob("*.jar")) == []


def test_a_missing_jar_says_which_and_keeps_the_others(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text(f"{repository.add('first', b'one')}\n{repository.add('second', b'two')}\n")
    path = "/org/example/second/1.0/second-1.0.jar"
    held_back = repository.content.pop(path)
    with pytest.raises(DevstackError, match=r"org\.example:second:1\.0 could not be fetched"):
        ensure_jars("example", lock, cache, lambda _message: None)
    repository.content[path] = held_back
    folder = ensure_jars("example", lock, cache, lambda _message: None)
    assert {jar.name for jar in folder.iterdir()} == {"first-1.0.jar", "second-1.0.jar"}
    assert repository.times_asked("first") == 1


def test_a_torso_left_by_a_killed_run_is_replaced(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text(repository.add("first", b"one"))
    torso = cache / "example.downloads" / "org" / "example" / "first" / "1.0" / "first-1.0.jar"
    torso.parent.mkdir(parents=True)
    torso.write_bytes(b"o")
    folder = ensure_jars("example", lock, cache, lambda _message: None)
    assert (folder / "first-1.0.jar").read_bytes() == b"one"


def test_a_changed_lock_gets_a_folder_of_its_own(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text(repository.add("first", b"one"))
    before = ensure_jars("example", lock, cache, lambda _message: None)
    lock.write_text(repository.add("second", b"two"))
    after = ensure_jars("example", lock, cache, lambda _message: None)
    assert before != after
    assert [jar.name for jar in after.iterdir()] == ["second-1.0.jar"]


def test_several_at_once_fetch_each_jar_once(repository: Repository, lock: Path, cache: Path) -> None:
    lock.write_text("\n".join(repository.add(f"jar{number}", b"x" * number) for number in range(1, 6)))
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_jars("example", lock, cache, lambda _message: None)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert [repository.times_asked(f"jar{number}") for number in range(1, 6)] == [1] * 5


@pytest.mark.parametrize("server", sorted(ROOTS))
def test_the_committed_locks_pin_their_roots_and_name_no_host(server: str) -> None:
    jars = read_lock(lock_file(server))
    pinned = {jar.coordinates for jar in jars}
    assert set(ROOTS[server]) <= pinned
    assert len({jar.file_name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "/" not in lock_file(server).read_text()
