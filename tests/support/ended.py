"""Runs a program of the product to its end, with settings of its own and nothing else in its environment."""

import os
import subprocess

from tests.support.processes import REPOSITORY


def ended(*command: str, limit: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with these variables and give how it ended, within `limit` seconds."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
