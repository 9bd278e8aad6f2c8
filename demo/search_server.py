"""A stand-in for the search service that knows one thing: which of the demonstration's courses is retired.

`python -m demo.search_server PORT` serves on 127.0.0.1 until SIGTERM.
"""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

from demo.course import COURSES

_LARGEST_QUESTION_BYTES = 100_000


class SearchHandler(BaseHTTPRequestHandler):
    """Answers POST /v3/search as the search service does, and any GET with 200."""

    timeout = 10.0

    def do_GET(self) -> None:
        """Say that we are there."""
        self._answer(200, {"healthy": True})

    def do_POST(self) -> None:
        """Tell a course's status."""
        length = min(int(self.headers.get("Content-Length") or 0), _LARGEST_QUESTION_BYTES)
        try:
            identifier = json.loads(self.rfile.read(length))["request"]["filters"]["identifier"]
        except (ValueError, LookupError, TypeError):
            self._answer(400, {"error": "no search request"})
            return
        found = [course for course in COURSES if course.course_id == identifier]
        content = [
            {"identifier": course.course_id, "status": "Retired" if course.retired else "Live"} for course in found
        ]
        self._answer(200, {"result": {"count": len(content), "content": content}})

    def _answer(self, code: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), SearchHandler).serve_forever()
