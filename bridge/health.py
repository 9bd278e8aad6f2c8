"""What a bridge says of its health (docs/health.md). Pure: the time, in seconds, comes in as `now`."""

from bridge.pacing import Hold
from reconciliation.health import Heartbeat

#: How long Kafka may be silent before the bridge counts as not ready, in seconds. A silent one is asked every ten
#: seconds (bridge/pacing.py, Patience), and a round that waits for another server comes in between.
KAFKA_SILENCE = 45.0

#: These mean that a server is away; the others are for all bridges, and no reason to wait for one of them.
_AWAY = frozenset({Hold.LEDGER_AWAY, Hold.BROKER_AWAY, Hold.KAFKA_AWAY, Hold.FAILED_TOPIC})


class BridgeHealth:
    """Alive while the loop turns, which it does though a server is away; ready while it reaches all it needs.

    The bridge's thread tells it what happens, others ask.

    Args:
        limit: how long one turn of the loop may take, in seconds.
        now: when the bridge was made.

    """

    def __init__(self, limit: float, now: float) -> None:
        self._loop = Heartbeat(limit, now)
        self._kafka: Heartbeat | None = None
        self._had_round = False
        self._hold: Hold | None = None
        self._is_stopping = False

    def turned(self, now: float, kafka_heard_at: float | None) -> None:
        """Note that the loop begins another turn, and when Kafka was last heard of."""
        self._loop.beat(now)
        if kafka_heard_at is not None:
            if self._kafka is None:
                self._kafka = Heartbeat(KAFKA_SILENCE, kafka_heard_at)
            self._kafka.beat(kafka_heard_at)

    def ended_round(self, hold: Hold | None) -> None:
        """Note how a round ended: with what holds the bridge now, None where nothing does."""
        self._had_round = True
        self._hold = hold

    def stop(self) -> None:
        """Note that the bridge was told to stop."""
        self._is_stopping = True

    def against_life(self, now: float) -> list[str]:
        """Say why only a new start could help."""
        # one that was told to stop ends within seconds by itself (bridge/start.py, GRACE)
        if self._is_stopping or not self._loop.is_late(now):
            return []
        return [f"the bridge's loop stands still for {self._loop.silence(now):.0f} s"]

    def against_readiness(self, now: float) -> list[str]:
        """Say what keeps the bridge from its work."""
        reasons = self.against_life(now)
        if self._is_stopping:
            reasons.append("the bridge stops")
        if not self._had_round:
            reasons.append("the ledger has not been asked yet")
        elif self._hold in _AWAY:
            reasons.append(str(self._hold))
        if self._kafka is None:
            reasons.append("Kafka has not answered yet")
        elif self._kafka.is_late(now):
            reasons.append(f"Kafka is silent for {self._kafka.silence(now):.0f} s")
        return reasons
