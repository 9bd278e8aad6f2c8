"""A search service of our own on 127.0.0.1, which can be ill or gone."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class SearchService:
    """Answers `POST /v3/search` from `statuses` (course to status); a course that isn't there is not found.

    `broken` makes every search end in 503; `stop` closes its port and `start` opens the same one again. `asked` holds
    path and body of every request that came. With a `token` it answers 401 to who does not show that.
    """

    statuses: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    broken: bool = False
    token: str | None = None
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    @property
    def base_path(self) -> str:
        """What `service.search.basePath` is set to."""
        return f"http://127.0.0.1:{self.port}"

    def asked_about(self, course_id: str) -> int:
        """How many requests named this course."""
        return sum(body["request"]["filters"]["identifier"] == course_id for _, body in list(self.asked))

    def start(self) -> None:
        """Listen, on the same port as before when there was one."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append((self.path, body))
                status = service.statuses.get(body["request"]["filters"]["identifier"])
                content = [] if status is None else [{"status": status}]
                result = {"count": len(content), "content": content} if content else {"count": 0}
                answer = json.dumps({"responseCode": "OK", "result": result}).encode()
                known = service.token is None or self.headers["Authorization"] == f"Bearer {service.token}"
                self.send_response(503 if service.broken else 200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                # as a service or gateway does that knows no such page, however its search fares
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port; nothing happens when it is closed."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join(10)
            self._server.server_close()
            self._server = None
