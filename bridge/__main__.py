"""`python -m bridge`: runs one bridge until SIGTERM. Settings come from docs/settings.md."""

import os
import signal
import sys

_USAGE = """\
Usage: python -m bridge

Runs one bridge until SIGTERM. It takes no arguments: its settings are environment variables, or lines of the file that
CONFIG_FILE names; docs/settings.md lists them."""


def main() -> int:
    """Run a bridge; returns the exit code: 0 after a signal, 1 after an error, 2 for a wrong setting."""
    # until the bridge hears signals itself (bridge/start.py, Runner) it has nothing in hand, and may end at once
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    # they take a second to load, in which a signal may come
    from reconciliation.settings_apart import read_settings_apart  # noqa: PLC0415 - as said

    read_settings_apart()
    from bridge.start import start  # noqa: PLC0415 - as said, and a process is copied before it

    return start()


def run(arguments: list[str]) -> int:
    """Run a bridge, or say that it takes no arguments: exit code 0 where help was asked for, else 2."""
    if not arguments:
        return main()
    is_asked = arguments in (["--help"], ["-h"])
    print(_USAGE, file=sys.stdout if is_asked else sys.stderr)
    return 0 if is_asked else 2


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
