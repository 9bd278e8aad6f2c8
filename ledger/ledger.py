"""The ledger's Python side: one method for each step of a request's life, one script for each method.

The states and who moves an entry between them are drawn in docs/reliability.md. Every method that changes something may
be repeated after a lost answer, so the client retries by itself a few times before it says LedgerUnavailable.
"""

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from ledger.connection import LedgerConfig, LedgerConnection, translated
from ledger.entries import (
    ENTRY_VERSION,
    Acceptance,
    Claim,
    FailureStatus,
    Occupancy,
    RetryLater,
    Settlement,
    SweepReason,
    Swept,
    Ticket,
    accept_arguments,
    decode_acceptance,
    decode_claim,
    decode_enrolment,
    encode_failure,
)
from ledger.pauses import DRAIN, EVERYTHING, acceptance_stop, decode_pause
from reconciliation.errors import LedgerUnavailable, SettingsError
from reconciliation.model import Debt, DebtStatus, FinalFailure, SyncRequest

log = structlog.get_logger(__name__)

#: The most requests that one script takes in: nobody else is answered meanwhile, and the largest records are 64 KiB.
MOST_AT_ONCE = 1000
#: The most bulk runs whose open requests are told of singly.
MOST_RUNS_SHOWN = 20
#: The pauses in which nothing is accepted.
_STOPS = [EVERYTHING, DRAIN]


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells one life of the ledger from the next: its epoch (gone when its data went) and the server's run id.

    `rewind` names the last order to go back in time, see `Ledger.order_rewind`. What was asked for with them and is no
    part of what they say: `stopped` tells why nothing is accepted, '' where it is; `uptime` for how many seconds the
    server has been up.
    """

    epoch: str
    run_id: str
    rewind: str = ""
    stopped: str = field(default="", compare=False)
    uptime: float = field(default=math.inf, compare=False)

    def is_same_life(self, other: "Identity") -> bool:
        """Say whether the ledger remembers what it remembered then, whatever was ordered since."""
        return (self.epoch, self.run_id) == (other.epoch, other.run_id)


class Ledger:
    """All open requests of one consumer group. Safe for use by several threads.

    Args:
        config: where and how.
        clock_ms: the time in milliseconds for tests; by default the server's own clock, which all hosts share.

    """

    def __init__(self, config: LedgerConfig, clock_ms: Callable[[], int] | None = None) -> None:
        self._config = config
        self._connection = LedgerConnection(config, clock_ms)
        self._redis = self._connection.redis
        self._prefix = self._connection.prefix

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()

    def verify(self) -> Identity:
        """Check that this Redis may hold a ledger, and say which life of it this is.

        Raises SettingsError when Redis may evict keys on its own, LedgerUnavailable when it does not answer or is a
        replica.
        """
        with translated():
            memory: Mapping[str, Any] = self._redis.info("memory")
            policy = memory.get("maxmemory_policy", "noeviction")
            if policy != "noeviction":
                raise SettingsError(
                    f"ledger.redis.url (LEDGER_REDIS_URL): its Redis has maxmemory-policy '{policy}', which may throw "
                    "away open requests; allowed is 'noeviction' (CONFIG SET maxmemory-policy noeviction)"
                )
            # one round trip: a bridge asks in every round
            with self._redis.pipeline(transaction=False) as together:
                together.get(self._prefix + "epoch")
                together.info("server")
                together.info("replication")
                together.hget(self._prefix + "rewind", "id")
                together.hmget(self._prefix + "paused", _STOPS)
                epoch, server, replication, order, stops = together.execute()
            if replication.get("role") == "slave":
                self._connection.leave()
                raise LedgerUnavailable(
                    "the ledger's Redis is a replica now, which takes nothing: ledger.redis.url (LEDGER_REDIS_URL) has "
                    "to lead to its master"
                )
            if epoch is None:
                # only then: a Redis that is out of memory refuses to set even what is there
                self._redis.set(self._prefix + "epoch", uuid.uuid4().hex, nx=True)
                epoch = self._redis.get(self._prefix + "epoch")
        uptime = float(server["uptime_in_seconds"])
        return Identity(_text(epoch), str(server["run_id"]), _text(order), _stopped(stops), uptime)

    def order_rewind(self, since_ms: int) -> str:
        """Have every bridge read its partitions again from this time (ms since 1970) on; gives the order's id.

        Each partition does so once, whenever a bridge has it next; what comes again is marked repeated.
        """
        order = uuid.uuid4().hex
        with translated():
            self._redis.hset(self._prefix + "rewind", mapping={"id": order, "since": since_ms})
        return order

    def rewind_since_ms(self) -> int | None:
        """Give the time of the last order to go back, in ms since 1970; None where there was none."""
        with translated():
            since = self._redis.hget(self._prefix + "rewind", "since")
        return None if since is None else int(_text(since))

    def accept(self, requests: Sequence[SyncRequest]) -> Acceptance:
        """Take requests in, in their order, until the bound is reached; a request that is known is left as it is.

        Of a bulk run as many are open as `bulk.max.open` allows, beside that bound and only while there is room in it.

        Raises LedgerUnavailable; the same list may then be given again.
        """
        acceptance = Acceptance(0, (), 0)
        arguments: list[str | bytes | int] = [
            self._config.max_open,
            self._ms(self._config.sweep_after),
            *self._let_off(),
            self._config.max_open_of_run,
        ]
        rows: list[tuple[bytes, int, bytes]] = []
        for at in range(0, len(requests), MOST_AT_ONCE):
            of_these = [it for request in requests[at : at + MOST_AT_ONCE] for it in accept_arguments(request)]
            rows += self._connection.run("accept", arguments + of_these)
            acceptance = decode_acceptance(requests, rows)
            if acceptance.accepted < len(rows):
                break
        return acceptance

    def claim(self, tickets: Sequence[Ticket], token: str, *, begins: bool = False) -> list[Claim]:
        """Begin the attempts that these tickets name; the stale, unknown, busy and paused are left out.

        `token` names this call's attempts and holds their claims until they are settled or retried, or the lease of
        `ledger.lease` seconds ends unrenewed. `begins` says that the claims were made by another process, which waits
        for this one to attempt them. Raises LedgerUnavailable; the call may be repeated with the same token.
        """
        arguments: list[str | int] = [self._ms(self._config.lease), token, ENTRY_VERSION, int(begins)]
        for ticket in tickets:
            arguments += [ticket.entry_id, ticket.generation]
        claims = []
        for ticket, (status, *flat) in zip(tickets, self._connection.run("claim", arguments), strict=True):
            if status == b"claimed":
                fields = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
                try:
                    claims.append(decode_claim(fields, ticket.entry_id))
                except (KeyError, ValueError) as error:
                    # it must not take its group with it; left claimed, it comes again, and is told again
                    log.error("an entry of the ledger can't be read", entry=ticket.entry_id, error=repr(error))
        return claims

    def renew(self, held: Sequence[tuple[str, str]]) -> list[bool]:
        """Prolong claims, given as (entry id, token); says of each whether it is still held."""
        arguments: list[str | int] = [self._ms(self._config.lease)]
        for entry_id, token in held:
            arguments += [entry_id, token]
        return [row == 1 for row in self._connection.run("renew", arguments)]

    def owe(self, debts: Sequence[Debt], token: str) -> list[DebtStatus]:
        """Record completions before they are written, so that any later attempt can announce them."""
        arguments: list[str | int] = [token]
        for debt in debts:
            arguments += [debt.entry_id, debt.completion.completed_on_ms, debt.mid]
        return [DebtStatus(row.decode()) for row in self._connection.run("owe", arguments)]

    def fail(self, failures: Sequence[tuple[str, FinalFailure]], token: str) -> list[FailureStatus]:
        """Record final failures, given as (entry id, failure), before their events are sent.

        Those that are held are not recorded: more were given up of late than failures.max.per.minute allows.
        """
        arguments: list[str | int] = [token, self._config.failures_per_minute]
        for entry_id, failure in failures:
            arguments += [entry_id, encode_failure(failure)]
        return [FailureStatus(row.decode()) for row in self._connection.run("fail", arguments)]

    def condemn(self, tickets: Sequence[Ticket], failure: FinalFailure) -> int:
        """Record a final failure from outside any attempt; the next one sends its event.

        Gives how many it became the end of: not those whose completion is owed, nor those that are another generation.
        """
        arguments: list[str | int] = [encode_failure(failure)]
        for ticket in tickets:
            arguments += [ticket.entry_id, ticket.generation]
        return sum(self._connection.run("condemn", arguments))

    def retry(self, retries: Sequence[RetryLater], token: str) -> list[bool]:
        """End attempts that go on later; the sweep sends each when its time comes. Says of each whether it was ours."""
        arguments: list[str | int] = [token]
        for later in retries:
            arguments += [later.entry_id, later.delay_ms, later.spends.value, later.reason, later.waits_for]
        return [row == 1 for row in self._connection.run("retry", arguments)]

    def settle(self, settlements: Sequence[Settlement], token: str) -> list[int]:
        """End entries that owe nothing more; gives for each how many requests ended with it.

        These are its own and those that had collapsed into it; none where the claim was gone.
        """
        arguments: list[str | int] = [token, self._config.paid_memory]
        for settlement in settlements:
            arguments += [settlement.entry_id, settlement.paid_mid or "", int(settlement.given_up)]
        return [int(closed) for closed in self._connection.run("settle", arguments)]

    def sweep(self, most: int) -> list[Swept]:
        """Find at most `most` overdue entries; each is to be sent again by the caller.

        What was sent and not claimed keeps its generation, so the first of its messages to arrive begins the attempt.

        A message that can't be sent is no loss: the entry is overdue again after its next wait.
        """
        config = self._config
        arguments = [most, self._ms(config.sweep_after), self._ms(config.sweep_max_wait), config.sweep_rate]
        return [
            Swept(
                Ticket(entry_id.decode(), generation, _course_of(enrolment), run.decode()),
                alone == 1,
                SweepReason(why.decode()),
            )
            for entry_id, generation, alone, why, enrolment, run in self._connection.run("sweep", arguments)
        ]

    def occupancy(self) -> Occupancy:
        """Say how many offsets are accepted and not settled, and how many of them `ledger.max.open` counts."""
        ((total, counted),) = self._connection.run("occupancy", self._let_off())
        return Occupancy(int(total), int(counted))

    def open_count(self) -> int:
        """Count the offsets whose requests are accepted and not settled."""
        return self.occupancy().open

    def unpaused_count(self) -> int:
        """Count the open entries that no pause keeps back: they wait for an attempt, or are in one."""
        with translated():
            return int(self._redis.zcard(self._prefix + "due"))

    def open_of_runs(self) -> dict[str, int]:
        """Count the open requests of each bulk run that has any, by its id."""
        return {run.decode(): int(count) for run, count in self._connection.run("runs_open", [MOST_RUNS_SHOWN])}

    def oldest_open_ms(self) -> int | None:
        """Say when the oldest open entry was accepted, in ms since 1970; None where none is open."""
        (accepted,) = self._connection.run("oldest", [])
        return None if accepted < 0 else int(accepted)

    def failures_held_ms(self) -> int:
        """Give for how many milliseconds nothing more is given up; 0 when final failures are as rare as they may be."""
        ((left, _),) = self._connection.run("breaker", [])
        return int(left)

    def release_failures(self) -> bool:
        """Let final failures go on at once; says whether they were held."""
        with translated():
            return self._redis.delete(self._prefix + "breaker") == 1

    def oldest_open(self, topic: str, partition: int) -> int | None:
        """Find the lowest offset of a partition that is accepted and not settled."""
        with translated():
            found: Any = self._redis.zrange(f"{self._prefix}open:{topic}:{partition}", 0, 0)
        return int(found[0]) if found else None

    def _let_off(self) -> tuple[int, int]:
        """Of what waits for one server or course, how much the bound lets off: of each, and in all."""
        most = self._config.max_waiting
        return max(1, most // 2), most

    @staticmethod
    def _ms(seconds: float) -> int:
        return round(seconds * 1000)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else ""


def _stopped(values: Sequence[bytes | None]) -> str:
    return acceptance_stop(decode_pause(scope, value) for scope, value in zip(_STOPS, values, strict=True))


def _course_of(enrolment: bytes) -> str:
    try:
        return decode_enrolment(enrolment).course_id
    except ValueError:
        # it is for people to read; what is wrong with the entry shows when it is claimed
        return ""
