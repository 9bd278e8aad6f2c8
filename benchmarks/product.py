"""The product under a load: real bridge and workers, from the first event on the topic to the last request settled."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.processes import usages
from devstack.stack import Stack
from tests.support.installation import Installation
from tests.support.tables import Learner

_LOOK_EVERY_SECONDS = 0.02
_LIMIT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class ProductResult:
    """Seconds for a round, CPU seconds by process, MiB at its end, and events that arrived."""

    seconds: float
    cpu_seconds: dict[str, float]
    resident_megabytes: dict[str, float]
    certificates: int
    audits: int


class Product:
    """A bridge and workers that stay for several rounds. `parts` names each process, servers too, by its pid."""

    def __init__(self, installation: Installation, stack: Stack) -> None:
        self.installation = installation
        self._stack = stack

    def parts(self) -> dict[str, int]:
        """Name every process that takes part."""
        own = {
            f"{part}{number}": process.pid
            for part, processes in (("bridge", self.installation.bridges), ("worker", self.installation.workers))
            for number, process in enumerate(processes, 1)
        }
        servers = {name: server.pid for name, server in self._stack.servers.items() if server.pid}
        return {**own, **servers}

    def run(self, learners: Sequence[Learner]) -> ProductResult:
        """Send a request for each of these at once and wait until all are settled."""
        installation = self.installation
        seen = len(installation.certificates.records()), len(installation.audits.records())
        before = usages(self.parts())
        began = time.perf_counter()
        installation.send(*learners)
        ended = self._settled(began)
        after = usages(self.parts())
        return ProductResult(
            seconds=ended - began,
            cpu_seconds={name: after[name].cpu_seconds - before[name].cpu_seconds for name in after},
            resident_megabytes={name: found.resident_megabytes for name, found in after.items()},
            certificates=len(installation.certificates.records()) - seen[0],
            audits=len(installation.audits.records()) - seen[1],
        )

    def _settled(self, began: float) -> float:
        """Wait until nothing is open and all is committed; gives when the last request was settled."""
        while True:
            while self.installation.open_count():
                self._look(began)
            at = time.perf_counter()
            if not self.installation.behind() and not self.installation.open_count():
                return at
            self._look(began)

    def _look(self, began: float) -> None:
        self.installation.watch()
        if time.perf_counter() - began > _LIMIT_SECONDS:
            raise TimeoutError(f"not everything was settled within {_LIMIT_SECONDS:.0f} s")
        time.sleep(_LOOK_EVERY_SECONDS)
