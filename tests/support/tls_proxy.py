"""Passes connections on to ports of other servers; with TLS for those that speak plain, as the packages' Redis does."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from devstack.ports import HOST

_LIMIT_SECONDS = 10.0
_CHUNK_BYTES = 65_536

T = TypeVar("T")


#: Says to which port a connection is passed on, given what comes of it, and what was read of that already.
Lead = Callable[[asyncio.StreamReader], Awaitable[tuple[int, bytes]]]


class PassingProxy:
    """Listens on a port of its own and passes each connection on to the port that `lead` says.

    Args:
        lead: asked once for each connection.
        context: the proxy's end of TLS, None where it speaks plain.

    """

    def __init__(self, lead: Lead, context: ssl.SSLContext | None = None) -> None:
        self._lead = lead
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="passing-proxy", daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens; within the block only."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, HOST, 0, ssl=self._context))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_SECONDS)
        self._loop.close()

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(_LIMIT_SECONDS)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        # all tasks: one whose handshake goes on is no connection yet
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            target, first = await self._lead(reader)
            there_reader, there_writer = await asyncio.open_connection(HOST, target)
            writers.append(there_writer)
            there_writer.write(first)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, there_writer))
                both.create_task(self._pass(there_reader, writer))
        except (OSError, asyncio.IncompleteReadError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            # what is left open when the loop ends is found by the collector, in the middle of another test
            for each in writers:
                each.transport.abort()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        writer.close()


class TlsProxy(PassingProxy):
    """Listens with TLS on a port of its own and passes everything on to `target`, a port that speaks plain.

    Args:
        target: the server's port.
        certificate: the proxy's certificate and key, PEM.
        client_authority: who must have signed the certificates that clients show; None asks for none.

    """

    def __init__(self, target: int, certificate: Path, client_authority: Path | None = None) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED

        async def lead(_: asyncio.StreamReader) -> tuple[int, bytes]:
            return target, b""

        super().__init__(lead, context)
