"""What is to be done with standard output and error before a process begins anew."""

import sys


def flush_streams() -> None:
    """Write out what these streams hold; one that whoever started us had closed is None, and holds nothing."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
