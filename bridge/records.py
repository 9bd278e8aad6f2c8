"""What Kafka's client hands over, as the product's own records. Pure."""

from confluent_kafka import Message

from reconciliation.model import Origin, Record

#: Later times are no times. A producer may stamp nanoseconds, or anything, and a double must hold them exactly.
LATEST_MS = 2**53


def to_record(message: Message) -> Record:
    """Turn what the consumer gave into a record; a value, key or header may be anything."""
    key, value = message.key(), message.value()
    _, timestamp_ms = message.timestamp()
    moment = min(max(0, timestamp_ms), LATEST_MS)
    return Record(
        origin=Origin(message.topic() or "", message.partition() or 0, message.offset() or 0, moment),
        key=_bytes(key),
        value=_bytes(value),
        headers=_headers(message),
    )


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    try:
        found = message.headers() or []
    except ValueError:
        # a header's name that is not UTF-8 is no reason to stand still
        return ()
    return tuple((header[0], _bytes(header[1])) for header in found)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
