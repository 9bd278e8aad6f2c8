"""A headless Chromium, spoken to over its debugging pipe: opens pages, runs their scripts, tells what they asked for.

The protocol is JSON, each message ended by a zero byte, on the browser's descriptors 3 and 4
(--remote-debugging-pipe), so nothing but the standard library is needed.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

#: The names under which systems install it, the usual one first.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: How long one answer of the browser's, or one condition on a page, may take, in seconds.
LIMIT = 45.0
_PAUSE = 0.05
_CHUNK = 1 << 16

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--hide-scrollbars",
    # a page that needs anything from elsewhere is to fail here as it does where there is no internet
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Name the browser's executable; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class BrowserError(Exception):
    """Raised when the browser does not answer, ends, or refuses a command."""


class Chromium:
    """One browser with an empty profile and one page; use it as a context.

    Args:
        executable: what `find_chromium` found.
        size: the page's width and height.
        headers: sent with every request of the page, such as an Authorization.

    """

    def __init__(
        self, executable: str, size: tuple[int, int] = (1280, 900), headers: dict[str, str] | None = None
    ) -> None:
        self._executable = executable
        self._size = size
        self._headers = headers or {}
        self._last_id = 0
        self._buffer = b""
        self._session = ""
        #: Every address that the pages asked for since `open` was last called.
        self.requested: list[str] = []
        #: What went wrong on the page since then: scripts that broke, requests that failed, answers above 399.
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        self._profile = TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        child_reads, self._write = os.pipe()
        self._read, child_writes = os.pipe()
        command = [
            # the shell puts the pipes where the browser looks for them
            "/bin/sh",
            "-c",
            f'exec "$@" 3</dev/fd/{child_reads} 4>/dev/fd/{child_writes}',
            "sh",
            self._executable,
            *_OPTIONS,
            f"--user-data-dir={self._profile.name}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command,
            pass_fds=(child_reads, child_writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": self._profile.name},
            start_new_session=True,
        )
        os.close(child_reads)
        os.close(child_writes)
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def open(self, url: str, until: str) -> None:
        """Open a page and wait until `until`, a JavaScript expression, is true in it."""
        self.requested.clear()
        self.problems.clear()
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        self.wait(until)

    def wait(self, until: str, limit: float = LIMIT) -> None:
        """Wait until a JavaScript expression is true. Raises BrowserError with the page's text after `limit` s."""
        deadline = time.monotonic() + limit
        while not self.evaluate(f"document.readyState === 'complete' && Boolean({until})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"not within {limit:.0f} s: {until}\n{self.problems}\n{self.text()}")
            time.sleep(_PAUSE)

    def evaluate(self, expression: str) -> Any:
        """Give an expression's value in the page, as JSON carries it; None where the page is just being replaced."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value") if "exceptionDetails" not in answer else None

    def text(self) -> str:
        """Give the page's text as people see it."""
        return str(self.evaluate("document.body.innerText"))

    def html(self) -> str:
        """Give the page as its scripts have made it, what is not shown at the moment included."""
        return str(self.evaluate("document.documentElement.outerHTML"))

    def click(self, selector: str) -> None:
        """Click on the element that a CSS selector names."""
        if not self.evaluate(f"(e => e && (e.click(), true))(document.querySelector({json.dumps(selector)}))"):
            raise BrowserError(f"nothing to click on: {selector}")

    def screenshot(self, path: Path, scale: float = 1.0) -> None:
        """Write what is shown as a PNG, made larger or smaller by `scale`."""
        clip = {"x": 0, "y": 0, "width": self._size[0], "height": self._size[1], "scale": scale}
        answer = self.call("Page.captureScreenshot", format="png", clip=clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    def strangers(self) -> list[str]:
        """List what the pages asked of anybody but this machine."""
        return [url for url in self.requested if urlsplit(url).hostname not in ("127.0.0.1", None)]

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Give the answer to one command of the protocol. Raises BrowserError."""
        self._last_id += 1
        sent: dict[str, object] = {"id": self._last_id, "method": method, "params": parameters}
        if self._session:
            sent["sessionId"] = self._session
        os.write(self._write, json.dumps(sent).encode() + b"\0")
        deadline = time.monotonic() + LIMIT
        while True:
            message = self._next(deadline, method)
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            self._note(message)

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Network.setExtraHTTPHeaders", headers=self._headers)
        width, height = self._size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def _next(self, deadline: float, waits_for: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._read], [], [], max(0.0, left))
            if not ready:
                raise BrowserError(f"the browser did not answer within {LIMIT:.0f} s: {waits_for}")
            chunk = os.read(self._read, _CHUNK)
            if not chunk:
                raise BrowserError(f"the browser has ended: {waits_for}")
            self._buffer += chunk
        told, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(told)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(told["request"]["url"])
            case "Network.responseReceived" if told["response"]["status"] >= 400:
                self.problems.append(f"{told['response']['status']} {told['response']['url']}")
            case "Network.loadingFailed" if not told.get("canceled"):
                self.problems.append(f"not loaded: {told['errorText']}")
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(told["exceptionDetails"])[:500])
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.problems.append(told["entry"]["text"])

    def _end(self) -> None:
        # the browser ends when its pipe does
        os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._read)
        self._profile.cleanup()
