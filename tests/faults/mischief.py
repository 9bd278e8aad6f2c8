"""Random faults, drawn from a seed and told of one by one: to the processes of a site, and to its servers."""

from collections import Counter
from collections.abc import Callable
from random import Random

from devstack.stack import Stack
from tests.faults.servers import away, forget, keep, out_of_memory
from tests.faults.site import Site
from tests.support.processes import Process

#: The longest that a process or server hangs or stays away, in seconds: past leases, time-outs and sweeps of a site.
LONGEST = 9.0


class Mischief:
    """Does one fault after the other to a site and its servers, and undoes it.

    Args:
        random: what everything is drawn from.
        stack: the servers.
        site: the processes; something must keep them busy.
        tell: called with a line for each fault as it begins.

    """

    def __init__(self, random: Random, stack: Stack, site: Site, tell: Callable[[str], None]) -> None:
        self._random = random
        self._stack = stack
        self._servers = tuple(stack.servers)
        self._site = site
        self._tell = tell
        #: How often each server was away, hung, was full or forgot.
        self.outages: Counter[str] = Counter()
        #: How many processes were ended in order and started again.
        self.ended = 0
        #: How many processes were frozen for a while.
        self.frozen = 0
        self._faults: dict[Callable[[], None], int] = {
            self._kill: 8,
            self._end: 2,
            self._freeze: 2,
            self._server_dies: 4,
            self._server_hangs: 3,
            self._all_die: 1,
            self._forget: 2,
            self._fill: 2,
        }

    def once(self) -> None:
        """Draw a fault, do it and undo it. Raises AssertionError when a server or process does not come back."""
        self._site.supervise()
        (fault,) = self._random.choices(list(self._faults), list(self._faults.values()))
        fault()
        self._site.supervise()

    def _kill(self) -> None:
        for process in self._random.sample(self._site.processes, self._random.choice([1, 1, 1, 2])):
            self._tell(f"kill the {process.name}")
            self._site.kill(process)

    def _end(self) -> None:
        process = self._one()
        self._tell(f"end the {process.name} in order, and start it again")
        self._site.stop(process)
        self._site.run(process)
        self.ended += 1

    def _freeze(self) -> None:
        process, seconds = self._one(), self._length()
        self._tell(f"freeze the {process.name} for {seconds:.1f} s")
        process.freeze()
        try:
            keep(self._site, seconds)
        finally:
            process.thaw()
        self.frozen += 1

    def _server_dies(self) -> None:
        name, seconds = self._random.choice(self._servers), self._length()
        self._tell(f"kill {name}, away for {seconds:.1f} s")
        with away(self._stack, self._site, name):
            self._meanwhile(seconds)
        self.outages[name] += 1

    def _server_hangs(self) -> None:
        name, seconds = self._random.choice(self._servers), self._length()
        self._tell(f"freeze {name} for {seconds:.1f} s")
        with away(self._stack, self._site, name, hangs=True):
            self._meanwhile(seconds)
        self.outages[name] += 1

    def _all_die(self) -> None:
        seconds = self._length()
        self._tell(f"kill {', '.join(self._servers)} together, away for {seconds:.1f} s")
        with away(self._stack, self._site, *self._servers):
            self._meanwhile(seconds)
        self.outages.update(self._servers)

    def _forget(self) -> None:
        self._tell("empty the ledger's database (FLUSHDB)")
        forget(self._site)
        self.outages["redis"] += 1

    def _fill(self) -> None:
        seconds, room = self._length(), self._random.choice([0, None])
        self._tell(f"let redis run out of memory for {seconds:.1f} s{'' if room is None else ', just so'}")
        with out_of_memory(self._site, room):
            self._meanwhile(seconds)
        self.outages["redis"] += 1

    def _meanwhile(self, seconds: float) -> None:
        """Let a server's fault last; every second time a process is killed in it."""
        hurt = self._one() if self._random.random() < 0.5 else None
        if hurt is None:
            keep(self._site, seconds)
            return
        keep(self._site, seconds / 2)
        self._tell(f"kill the {hurt.name} meanwhile")
        self._site.kill(hurt)
        keep(self._site, seconds / 2)

    def _one(self) -> Process:
        return self._random.choice(self._site.processes)

    def _length(self) -> float:
        # short ones as often as long ones
        return self._random.choice([self._random.uniform(0.1, 1), self._random.uniform(1, LONGEST)])
