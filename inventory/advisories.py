"""What is known against packages: asked of OSV's service, or looked up in a copy of its database.

OSV (https://osv.dev) gathers the advisories of the Python Packaging Advisory Database and of GitHub. Its service is
described at https://google.github.io/osv.dev/post-v1-querybatch/, its records at https://ossf.github.io/osv-schema/.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from packaging.version import InvalidVersion, Version

from inventory.locks import Package, normalised

#: For each package that something is known against, the ids of the advisories. A lock may hold two versions of one.
Known = Mapping[Package, Sequence[str]]

ECOSYSTEM = "PyPI"

_TIMEOUT = 20.0
# More than a package has pages of advisories.
_MOST_PAGES = 20
_AT_ONCE = 500


class NotLooked(Exception):
    """Raised when it could not be found out whether anything is known; the text says why."""


def ask_service(packages: Sequence[Package], address: str) -> Known:
    """Ask OSV's service at this address. Raises NotLooked unless every package got its answer."""
    known: dict[Package, list[str]] = {}
    waiting: list[tuple[Package, str]] = [(package, "") for package in packages]
    for _ in range(_MOST_PAGES):
        now, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        for (package, _), result in zip(now, _ask([*now], address), strict=True):
            found = [str(advisory["id"]) for advisory in result.get("vulns", [])]
            if found:
                known.setdefault(package, []).extend(found)
            if result.get("next_page_token"):
                waiting.append((package, str(result["next_page_token"])))
        if not waiting:
            return known
    raise NotLooked(f"{address} has ever more pages")


def _ask(asked: Sequence[tuple[Package, str]], address: str) -> Sequence[Mapping[str, Any]]:
    queries = [
        {
            "package": {"name": package.name, "ecosystem": ECOSYSTEM},
            "version": package.version,
            **({"page_token": token} if token else {}),
        }
        for package, token in asked
    ]
    try:
        answer = requests.post(f"{address.rstrip('/')}/v1/querybatch", json={"queries": queries}, timeout=_TIMEOUT)
        answer.raise_for_status()
        results = answer.json()["results"]
    except requests.ConnectionError:
        raise NotLooked(f"{address} can't be reached from here") from None
    except requests.RequestException as error:
        raise NotLooked(f"{address} did not answer as it should: {error}") from None
    except (LookupError, TypeError):
        raise NotLooked(f"{address} answered something else than advisories") from None
    if not isinstance(results, list) or len(results) != len(queries):
        raise NotLooked(f"{address} did not answer for every package")
    return [result or {} for result in results]


def look_up(packages: Sequence[Package], database: Path) -> Known:
    """Look into a copy of OSV's database: the zip archive of an ecosystem's records. Raises NotLooked."""
    known: dict[Package, list[str]] = {}
    looked_at = 0
    try:
        for advisory in _records(database):
            looked_at += 1
            if "withdrawn" in advisory:
                continue
            named = _named(advisory)
            for package in packages:
                if package.name in named and _concerns(advisory, package):
                    known.setdefault(package, []).append(str(advisory["id"]))
    except (OSError, zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotLooked(f"{database} is no copy of OSV's database: {error}") from None
    if not looked_at:
        raise NotLooked(f"{database} holds no advisories")
    return known


def _records(database: Path) -> Iterator[Mapping[str, Any]]:
    with zipfile.ZipFile(database) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def _named(advisory: Mapping[str, Any]) -> set[str]:
    packages = [affected.get("package", {}) for affected in advisory.get("affected", [])]
    return {normalised(package["name"]) for package in packages if package.get("ecosystem") == ECOSYSTEM}


def _concerns(advisory: Mapping[str, Any], package: Package) -> bool:
    """Say whether a record is about this version: listed, or within a range of versions."""
    version = Version(package.version)
    for affected in advisory["affected"]:
        described = affected.get("package", {})
        if described.get("ecosystem") != ECOSYSTEM or normalised(described["name"]) != package.name:
            continue
        if package.version in affected.get("versions", []):
            return True
        ranges = [each for each in affected.get("ranges", []) if each.get("type") in ("ECOSYSTEM", "SEMVER")]
        if any(_is_within(version, each["events"]) for each in ranges):
            return True
    return False


def _is_within(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Follow a range's events in the order of versions, as the schema's own algorithm does."""
    moments = sorted((_version(text), kind) for event in events for kind, text in event.items() if kind != "limit")
    within = False
    for moment, kind in moments:
        if kind == "introduced" and version >= moment:
            within = True
        elif (kind == "fixed" and version >= moment) or (kind == "last_affected" and version > moment):
            within = False
    return within


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        # what can't be compared counts as the beginning: rather one advisory too many
        return Version("0")
