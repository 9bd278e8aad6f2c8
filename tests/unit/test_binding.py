"""What our encoders write is what the driver's own types write."""

import struct
from collections import namedtuple
from typing import Any

import pytest
from cassandra.cqltypes import DateType, DoubleType, FloatType, Int32Type, LongType, MapType, UTF8Type, VarcharType
from cassandra.query import PreparedStatement
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.binding import Statement, encoder_of

PROTOCOL = 4
TEXTS = st.text()
INTS = st.integers(-(2**31), 2**31 - 1)
BIGINTS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False)

Column = namedtuple("Column", ["keyspace_name", "table_name", "name", "type"])  # noqa: PYI024 - as the driver's own


def map_of(kind: Any, of: Any = VarcharType) -> Any:
    return MapType.apply_parameters([of, kind])


def prepared(*kinds: Any) -> PreparedStatement:
    columns = [Column("keyspace", "table", f"column{number}", kind) for number, kind in enumerate(kinds)]
    return PreparedStatement(columns, b"id", [0], "query", "keyspace", PROTOCOL, None, None)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (UTF8Type, TEXTS),
        (VarcharType, TEXTS),
        (map_of(Int32Type, of=UTF8Type), st.dictionaries(TEXTS, INTS, max_size=40)),
        (LongType, BIGINTS),
        (DateType, BIGINTS),
        (Int32Type, INTS),
        (DoubleType, DOUBLES),
        (map_of(Int32Type), st.dictionaries(TEXTS, INTS, max_size=40)),
        (map_of(DoubleType), st.dictionaries(TEXTS, DOUBLES, max_size=5)),
        (map_of(DateType), st.dictionaries(TEXTS, BIGINTS, max_size=5)),
        # a type of which we know nothing
        (FloatType, st.integers(-100, 100)),
    ],
    ids=lambda it: getattr(it, "typename", ""),
)
def test_a_value_is_written_as_the_driver_writes_it(kind: Any, values: st.SearchStrategy[Any]) -> None:
    @given(values)
    def check(value: Any) -> None:
        assert encoder_of(kind, PROTOCOL)(value) == kind.serialize(value, PROTOCOL)

    check()


@given(TEXTS, BIGINTS, st.dictionaries(TEXTS, INTS))
def test_a_statement_is_bound_as_the_driver_binds_it(text: str, number: int, entries: dict[str, int]) -> None:
    made = prepared(UTF8Type, LongType, map_of(Int32Type))
    ours, theirs = Statement(made).bind((text, number, entries)), made.bind((text, number, entries))
    assert ours.values == theirs.values
    assert ours.routing_key == theirs.routing_key
    assert ours.keyspace == theirs.keyspace
    assert ours.consistency_level == theirs.consistency_level


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (UTF8Type, "half of a pair \ud800", UnicodeEncodeError),
        (UTF8Type, 7, TypeError),
        (LongType, 2**63, struct.error),
        (Int32Type, "7", struct.error),
        (map_of(Int32Type), {"content": 2**31}, struct.error),
    ],
)
def test_what_a_column_does_not_take_is_refused(kind: Any, value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        Statement(prepared(kind)).bind((value,))


def test_a_value_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Statement(prepared(UTF8Type, UTF8Type)).bind(("one",))
