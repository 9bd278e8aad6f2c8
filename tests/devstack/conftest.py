"""A small stand-in for a package repository, and names shared by the tests of the local servers."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from devstack.ports import HOST, Ports, free_ports


@dataclass(slots=True)
class Repository:
    """Serves `content` by path on 127.0.0.1 and remembers each path that was asked for."""

    content: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, name: str, content: bytes) -> str:
        """Publish a jar org.example:`name`:1.0; return its line for a lock file."""
        self.content[f"/org/example/{name}/1.0/{name}-1.0.jar"] = content
        return f"org.example:{name}:1.0 {hashlib.sha256(content).hexdigest()}"

    def times_asked(self, name: str) -> int:
        return sum(path.endswith(f"/{name}-1.0.jar") for path in self.asked)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    served = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            body = served.content.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_arguments: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    served.url = f"http://{HOST}:{server.server_port}"
    monkeypatch.setenv("DEVSTACK_MAVEN_URL", served.url)
    monkeypatch.setenv("NO_PROXY", HOST)
    yield served
    server.shutdown()
    thread.join(timeout=5)
    server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "example.lock"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def unused_ports() -> Ports:
    """Ports that are free now; a module's own."""
    return free_ports()


@pytest.fixture
def more_unused_ports() -> Ports:
    """Ports that are free now; a test's own."""
    return free_ports()
