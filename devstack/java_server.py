"""What Kafka and Cassandra have in common: a Java runtime and a folder of pinned jars."""

from collections.abc import Callable
from pathlib import Path

from devstack.java import find_java
from devstack.locking import lock_file
from devstack.maven import ensure_jars
from devstack.server import Place, Server


class JavaServer(Server):
    """A server that runs on Java; its jars are those of the lock file of its name, or of `packages`."""

    def __init__(self, place: Place, port: int, packages: str = "") -> None:
        super().__init__(place, port)
        self._packages = packages or self.name
        self._java = Path()
        self._jars = Path()

    def prepare(self, report: Callable[[str], None]) -> None:
        """Find Java and put the jars in place."""
        self._java = find_java()
        self._jars = ensure_jars(self._packages, lock_file(self._packages), self.place.cache, report)

    def java(self, heap_megabytes: int) -> list[str]:
        """Give what a command line begins with: Java, how much memory it takes, and how it compiles."""
        heap = (f"-Xms{heap_megabytes}m", f"-Xmx{heap_megabytes}m", "-XX:+UseSerialGC")
        # the second compiler keeps a processor busy for minutes, and pays after many more: half of what Cassandra and
        # Kafka took of the processor in tests was it
        compiler = () if self.place.as_in_production else ("-XX:TieredStopAtLevel=1",)
        return [str(self._java), *heap, *compiler, f"-XX:ErrorFile={self.folder}/crash-%p.log"]
