"""The demonstration's command line: `python -m demo` and `python -m demo stop`."""

import os
import sys
import traceback
from pathlib import Path

from rich.console import Console

from demo.errors import DemoError, one_line
from demo.flow import demonstrate
from demo.put_away import put_away
from demo.run import load_notes, taking_turns
from demo.show import make_console
from devstack.errors import DevstackError
from devstack.stack import Stack

_INTERRUPTED = 130
_USAGE = "usage: python -m demo [stop]      KEEP=1 in the environment leaves everything running"


def main(arguments: list[str]) -> int:
    """Run the demonstration, or put away what KEEP=1 left running; returns the exit code."""
    if arguments not in ([], ["stop"]):
        print(_USAGE, file=sys.stderr)
        return 2
    console = make_console()
    try:
        stack = Stack.from_environment(os.environ)
        with taking_turns(stack.directory / "demo"):
            if arguments:
                stop(console, stack)
                return 0
            return 0 if demonstrate(console, stack, keep=os.environ.get("KEEP") == "1") else 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything that it started is ended.", file=sys.stderr)
        return _INTERRUPTED
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
    except DevstackError as error:
        where = f" The end of its log: {keep_for_reading(error.log)}" if error.log else ""
        print(f"demo: {one_line(f'{error.server}: {error.reason}', error.next_step)}{where}", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback; it lies in a file
        report = keep_for_reading(traceback.format_exc())
        print(f"demo: {one_line(f'{type(error).__name__}: {error}', f'Read {report}.')}", file=sys.stderr)
    return 1


def keep_for_reading(text: str) -> Path:
    """Write what is too long for the one line of an error to a file; returns its path."""
    report = Stack.from_environment(os.environ).directory / "demo" / "error.log"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text)
    return report


def stop(console: Console, stack: Stack) -> None:
    """End what an earlier run left running, and remove what it made."""
    notes = load_notes(stack.directory / "demo")
    if notes is None:
        print("No demonstration is running.")
        return
    put_away(console, notes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
