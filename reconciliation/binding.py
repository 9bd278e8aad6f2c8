"""Writes values down as Cassandra's native protocol wants them (cassandra/query.py, bind).

The driver's own `PreparedStatement.bind` goes by general code, which cost a worker about a seventh of its time. Our
statements bind few types; any other is left to the driver. A property test holds our bytes and the driver's together.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cassandra.query import BoundStatement, PreparedStatement

Encode = Callable[[Any], bytes]

_BIGINT = struct.Struct(">q").pack
_INT = struct.Struct(">i").pack
_DOUBLE = struct.Struct(">d").pack
#: In a map each key and value follows its length; these carry that of their own value.
_SIZED_BIGINT = struct.Struct(">iq").pack
_SIZED_INT = struct.Struct(">ii").pack
_SIZED_DOUBLE = struct.Struct(">id").pack


def _map_of(size: int, sized: Callable[[int, Any], bytes]) -> Encode:
    """Give an encoder of map<text, …> whose values take `size` bytes."""

    def encode(entries: Mapping[str, Any]) -> bytes:
        parts = [_INT(len(entries))]
        for name, value in entries.items():
            key = name.encode()
            parts += (_INT(len(key)), key, sized(size, value))
        return b"".join(parts)

    return encode


#: By the CQL name of a column's type.
_ENCODERS: Mapping[str, Encode] = {
    "text": str.encode,
    "bigint": _BIGINT,
    "timestamp": _BIGINT,  # milliseconds since 1970
    "int": _INT,
    "double": _DOUBLE,
    "map<text, int>": _map_of(4, _SIZED_INT),
    "map<text, double>": _map_of(8, _SIZED_DOUBLE),
    "map<text, timestamp>": _map_of(8, _SIZED_BIGINT),
}


class Statement:
    """A prepared statement, and how each of its values is written down."""

    def __init__(self, prepared: PreparedStatement) -> None:
        self.prepared = prepared
        self._encoders = tuple(
            encoder_of(column.type, prepared.protocol_version) for column in prepared.column_metadata or ()
        )

    def bind(self, values: Sequence[object]) -> BoundStatement:
        """Give the statement with these values, none of which is None.

        Raises ValueError, TypeError or struct.error where one is not what its column takes, or where one is missing.
        """
        bound = BoundStatement(self.prepared)
        bound.values = [encode(value) for encode, value in zip(self._encoders, values, strict=True)]
        return bound


def encoder_of(column_type: Any, protocol_version: int) -> Encode:
    """Give what writes values of a column down; `column_type` is one of the driver's (cassandra/cqltypes.py)."""
    return own_encoder(column_type) or (lambda value: bytes(column_type.serialize(value, protocol_version)))


def own_encoder(column_type: Any) -> Encode | None:
    """Give what writes values of a column down without the driver's general code; None where it takes that."""
    # what CQL calls text every server calls varchar (the driver's VarcharType, native protocol v4, section 4.2.5.2)
    return _ENCODERS.get(column_type.cql_parameterized_type().replace("varchar", "text"))
