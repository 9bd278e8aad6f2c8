"""Writes the bill of materials: `python -m inventory.bill`, CycloneDX 1.6 in JSON, made of the locks alone.

The same locks give the same bytes: no clock, no chance, no network, and no name of the server that packages came from.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from inventory.locks import EVERYTHING, RUNTIME, LockError, Package, read_lock

PROJECT = "enrolment-reconciliation"

_NAMESPACE = uuid.UUID("0d6a3a0e-7c11-4c57-9a38-5b0f4a2e6f0c")
# Longer is the licence's whole text.
_LONGEST_LICENCE = 100


def bill_of_materials(packages: Sequence[Package], runtime: Sequence[Package], version: str) -> dict[str, Any]:
    """Give the bill of the product in this version.

    What is among `runtime` is required: the image holds it. The rest is for development.
    """
    required = {_reference(package) for package in runtime}
    root = f"{PROJECT}@{version}"
    edges: dict[str, list[str]] = {root: [], **{_reference(package): [] for package in packages}}
    for package in packages:
        # one that is locked in two versions, one for each kind of interpreter, asks in both for what it needs
        askers = [_reference(other) for other in packages if other.name in package.wanted_by]
        for asker in [*askers, *([root] if PROJECT in package.wanted_by else [])]:
            edges[asker].append(_reference(package))
    content = {
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": PROJECT,
                "version": version,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": [_component(package, is_required=_reference(package) in required) for package in packages],
        "dependencies": [{"ref": source, "dependsOn": sorted(targets)} for source, targets in edges.items()],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(content, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **content,
    }


def _reference(package: Package) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def _component(package: Package, *, is_required: bool) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package.name,
        "version": package.version,
        "purl": _reference(package),
        "scope": "required" if is_required else "optional",
        **_licences(package),
        # of several files, one a platform: the format's own `hashes` are those of one file
        "properties": [{"name": f"{PROJECT}:locked-sha256", "value": digest} for digest in package.hashes],
    }


def _licences(package: Package) -> dict[str, Any]:
    """Give what the installed package says of its licence; nothing where it isn't installed here or doesn't say."""
    try:
        told = metadata.metadata(package.name)
    except metadata.PackageNotFoundError:
        return {}
    if "License-Expression" in told:
        return {"licenses": [{"expression": told["License-Expression"]}]}
    named = told["License"].strip() if "License" in told else ""
    if named and named != "UNKNOWN" and len(named) <= _LONGEST_LICENCE and "\n" not in named:
        return {"licenses": [{"license": {"name": named}}]}
    classifiers = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    return {"licenses": [{"license": {"name": name}} for name in classifiers]} if classifiers else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m inventory.bill", description="Write the bill of materials.")
    parser.add_argument("--output", type=Path, help="the file to write; without it, standard output")
    asked = parser.parse_args(arguments)
    try:
        bill = bill_of_materials(read_lock(EVERYTHING), read_lock(RUNTIME), metadata.version(PROJECT))
    except LockError as error:
        print(f"The locks can't be read: {error}", file=sys.stderr)
        return 2
    text = json.dumps(bill, indent=2) + "\n"
    if asked.output is None:
        sys.stdout.write(text)
        return 0
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(text, encoding="utf-8")
    print(f"{len(bill['components'])} components are listed in {asked.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
