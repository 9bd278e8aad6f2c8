"""Reads the locks, `requirements.txt` and `requirements-runtime.txt`. Pure."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Everything, and what the image installs.
EVERYTHING, RUNTIME = ROOT / "requirements.txt", ROOT / "requirements-runtime.txt"

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VIA = re.compile(r"#\s+(?:via\s+)?(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<ours> \(.*pyproject\.toml\))?$")


class LockError(Exception):
    """Raised when a lock can't be read; the text names the file and the line."""


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package: the sha256 of each file that may be installed, and which packages asked for it."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    wanted_by: frozenset[str] = field(default_factory=frozenset)


def normalised(name: str) -> str:
    """Write a package's name as the index does: lower case, one dash for each run of dashes, dots and underscores."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> list[Package]:
    """Read a lock as uv writes it. Raises LockError where a line is no pin, hash or comment."""
    packages: list[Package] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        pin, digest, via = _PIN.match(text), _HASH.match(text), _VIA.match(text)
        if pin and not line.startswith(" "):
            packages.append(Package(normalised(pin["name"]), pin["version"]))
        elif digest and packages:
            packages[-1] = replace(packages[-1], hashes=(*packages[-1].hashes, digest[1]))
        elif via and packages and text != "# via":
            packages[-1] = replace(packages[-1], wanted_by=packages[-1].wanted_by | {normalised(via["name"])})
        elif text and not text.startswith("#"):
            raise LockError(f"{path.name}, line {number}, is neither a pinned package nor a hash")
    if not packages:
        raise LockError(f"{path.name} pins nothing")
    return packages
