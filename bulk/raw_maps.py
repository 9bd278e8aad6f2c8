"""Maps of small numbers as they come over the wire: the driver's own way takes most of a scan's time. Pure.

A prepared statement says of each column which type its values have. Where that says bytes, the driver hands out what
it got, and what is not needed is not taken apart.
"""

import struct
from collections.abc import Collection, Mapping
from typing import Any

from cassandra.cqltypes import BytesType
from cassandra.query import PreparedStatement

_SIZE = struct.Struct(">i").unpack_from
_INT = struct.Struct(">i").unpack_from
_DOUBLE = struct.Struct(">d").unpack_from
_NULL = -1


def leave_raw(prepared: PreparedStatement, columns: Collection[str]) -> None:
    """Have the driver hand out these columns of a statement's rows as bytes.

    A node that has to learn the statement anew brings the columns' own types back (cassandra/cluster.py,
    ResponseFuture._execute_after_prepare): what reads the values takes both.
    """
    prepared.result_metadata = [
        (*described[:3], BytesType if described[2] in columns else described[3])
        for described in prepared.result_metadata
    ]


def int_map(value: bytes | Mapping[str, int] | None) -> dict[str, int] | None:
    """Give a map<text, int>, None where there is none."""
    if not isinstance(value, bytes):
        return None if value is None else dict(value.items())
    return {name: _INT(value, at)[0] for name, at in _entries(value)}


def double_of(value: bytes | Mapping[str, float] | None, wanted: str) -> float | None:
    """Give one entry of a map<text, double>, None where the map or the entry isn't there."""
    if not isinstance(value, bytes):
        return None if value is None else value.get(wanted)
    for name, at in _entries(value):
        if name == wanted:
            number: float = _DOUBLE(value, at)[0]
            return number
    return None


def _entries(value: bytes) -> list[tuple[str, int]]:
    """List names and where their values begin; an entry without a value is left out."""
    found = []
    at = 4
    for _ in range(_SIZE(value, 0)[0]):
        size: Any = _SIZE(value, at)[0]
        name = value[at + 4 : at + 4 + size].decode()
        at += 4 + size
        (size,) = _SIZE(value, at)
        at += 4
        if size != _NULL:
            found.append((name, at))
            at += size
    return found
