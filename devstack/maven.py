"""Puts a server's jars in place: fetched by Maven coordinates, each checked against the sha256 in our lock file."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver

from devstack.errors import DevstackError

_FETCHERS = 8
_ATTEMPTS = 3
_REQUEST_LIMIT_SECONDS = 60
_PAUSE_SECONDS = 1.0
_TURN_LIMIT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar of a lock file: `coordinates` are group:artifact:version or group:artifact:version:classifier."""

    coordinates: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The jar's file name, as Maven repositories name it."""
        return "-".join(self.coordinates.split(":")[1:]) + ".jar"


def read_lock(lock: Path) -> tuple[LockedJar, ...]:
    """Return the jars of a lock file: a line each, coordinates and sha256, '#' begins a comment."""
    lines = (line.partition("#")[0].split() for line in lock.read_text().splitlines())
    return tuple(LockedJar(*fields) for fields in lines if fields)


def sha256_of(file: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def maven_context(repository: Path) -> MavenContext:
    """Return a context that keeps what it fetches in `repository`; DEVSTACK_MAVEN_URL names a mirror to fetch from."""
    mirror = os.environ.get("DEVSTACK_MAVEN_URL")
    return MavenContext(
        resolver=PythonResolver(),
        repo_cache=repository,
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=_REQUEST_LIMIT_SECONDS,
    )


def ensure_jars(name: str, lock: Path, cache: Path, report: Callable[[str], None]) -> Path:
    """Return the folder that holds exactly the jars of `lock`, fetching them when it isn't there yet.

    The folder is named after the lock's content and appears, whole and verified, by one rename: whoever sees it may
    use it, and a changed lock can't meet old jars. Processes that ask at once take turns. `report` is told of progress.
    Raises DevstackError when a jar can't be fetched or its checksum differs.
    """
    jars = read_lock(lock)
    finished = cache / f"{name}-{sha256_of(lock)[:12]}"
    if finished.is_dir():
        return finished
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DevstackError(
            name, f"its packages can't be kept in {cache}: {error.strerror}", "Make room there."
        ) from error
    with _turn(name, cache / f"{name}.turn", report):
        if finished.is_dir():
            return finished
        # What an interrupted run left here was verified before it got here, so it need not be fetched again.
        partial = cache / f"{finished.name}.partial"
        partial.mkdir(exist_ok=True)
        downloads = cache / f"{name}.downloads"
        _fetch_all(name, [jar for jar in jars if not (partial / jar.file_name).exists()], downloads, partial, report)
        shutil.rmtree(downloads, ignore_errors=True)
        partial.rename(finished)
    return finished


@contextmanager
def _turn(name: str, file: Path, report: Callable[[str], None]) -> Iterator[None]:
    deadline = time.monotonic() + _TURN_LIMIT_SECONDS
    told = False
    with file.open("w") as handle:
        while True:
            try:
                # The kernel lets go of it when the holder ends, however it ends.
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    report("waiting for another process that fetches the same packages")
                told = True
            if time.monotonic() > deadline:
                reason = f"another process has been fetching its packages for {_TURN_LIMIT_SECONDS:.0f} s"
                raise DevstackError(name, reason, "End that process, then run the same command again.")
            time.sleep(_PAUSE_SECONDS)
        yield


def _fetch_all(name: str, jars: list[LockedJar], downloads: Path, target: Path, report: Callable[[str], None]) -> None:
    context = maven_context(downloads)
    report(f"fetching {len(jars)} packages")
    with ThreadPoolExecutor(_FETCHERS) as pool:
        running = [pool.submit(_fetch, name, context, jar, target) for jar in jars]
        try:
            for count, done in enumerate(as_completed(running), start=1):
                done.result()
                if count % 10 == 0 or count == len(jars):
                    report(f"fetched and verified {count} of {len(jars)} packages")
        finally:
            for future in running:
                future.cancel()


def _fetch(name: str, context: MavenContext, jar: LockedJar, target: Path) -> None:
    group, artifact_id, version, *classifier = jar.coordinates.split(":")
    artifact = context.project(group, artifact_id).at_version(version).artifact(*classifier)
    trouble: DevstackError | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            fetched = artifact.resolve()
        # jgo tells of every status but 200 with a RuntimeError (jgo/maven/_resolver.py, PythonResolver.download)
        except (requests.RequestException, RuntimeError, OSError) as error:
            trouble = _unreachable(name, jar, error)
            # jgo writes to the final name as the bytes come: what is there now is a torso.
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
            continue
        found = sha256_of(fetched)
        if found == jar.sha256:
            fetched.replace(target / jar.file_name)
            return
        fetched.unlink()
        trouble = _tampered(name, jar, found)
    assert trouble is not None  # noqa: S101 - every attempt returned or left its trouble here
    raise trouble


def _unreachable(name: str, jar: LockedJar, error: Exception) -> DevstackError:
    return DevstackError(
        name,
        f"{jar.coordinates} could not be fetched: {error}",
        "Check the network and any proxy settings (HTTPS_PROXY), then run the same command again: what is already "
        "fetched is kept. DEVSTACK_MAVEN_URL names a mirror to use instead.",
    )


def _tampered(name: str, jar: LockedJar, found: str) -> DevstackError:
    return DevstackError(
        name,
        f"checksum mismatch for {jar.coordinates}: the lock file says sha256 {jar.sha256}, what came has {found}; "
        "it was not put in place",
        "Do not use it. Check the mirror or proxy between here and the package repository, then run the command again.",
    )
