"""Says what is known against the locked packages: `python -m inventory.audit`.

Exit codes: 0, nothing is known; 1, something is; 3, it could not be looked, which is no word on the packages.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from inventory.advisories import NotLooked, ask_service, look_up
from inventory.locks import EVERYTHING, RUNTIME, LockError, read_lock

SERVICE = "https://api.osv.dev"

NOTHING_KNOWN, SOMETHING_KNOWN, WRONG_LOCKS, NOT_LOOKED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m inventory.audit", description="Say what is known against the locked packages."
    )
    parser.add_argument("--runtime", action="store_true", help="only what the image installs")
    parser.add_argument(
        "--database",
        type=Path,
        default=os.environ.get("AUDIT_DATABASE"),
        help="a copy of OSV's database for PyPI, a zip archive, instead of the service (AUDIT_DATABASE)",
    )
    parser.add_argument(
        "--service",
        default=os.environ.get("AUDIT_SERVICE", SERVICE),
        help=f"where OSV's service is (AUDIT_SERVICE; default {SERVICE})",
    )
    asked = parser.parse_args(arguments)
    try:
        packages = read_lock(RUNTIME if asked.runtime else EVERYTHING)
        known = look_up(packages, asked.database) if asked.database else ask_service(packages, asked.service)
    except LockError as error:
        print(f"The locks can't be read: {error}", file=sys.stderr)
        return WRONG_LOCKS
    except NotLooked as error:
        print(f"NOT AUDITED: {error}. Nothing is said about the packages.", file=sys.stderr)
        print(
            "Next step: run it where OSV's service can be reached, or give a copy of its database: "
            "AUDIT_DATABASE=/path/to/all.zip (https://google.github.io/osv.dev/data/)",
            file=sys.stderr,
        )
        return NOT_LOOKED
    for package in packages:
        for advisory in known.get(package, ()):
            print(f"{package.name} {package.version}: https://osv.dev/vulnerability/{advisory}")
    where = asked.database or asked.service
    print(f"{len(packages)} packages were looked up in {where}; something is known against {len(known)} of them.")
    return SOMETHING_KNOWN if known else NOTHING_KNOWN


if __name__ == "__main__":
    sys.exit(main())
