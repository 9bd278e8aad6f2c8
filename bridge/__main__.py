"""`python -m bridge`: runs one bridge until SIGTERM. Settings come from docs/settings.md."""

import os
import signal
import sys


def main() -> int:
    """Run a bridge; returns the exit code: 0 after a signal, 1 after an error, 2 for a wrong setting."""
    # until the bridge hears signals itself (bridge/start.py, Runner) it has nothing in hand, and may end at once
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    from bridge.start import start  # noqa: PLC0415 - it takes a second to load, in which a signal may come

    return start()


if __name__ == "__main__":
    sys.exit(main())
