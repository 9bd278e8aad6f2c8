"""A learner's rows as people are shown them, on both layouts of user_activity_agg."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from devstack.ports import HOST
from reconciliation.current_rows import CurrentAggregate, CurrentEnrolment, CurrentRows
from reconciliation.enrolment_store import EnrolmentStore, StoreConfig
from reconciliation.errors import SettingsError, StoreUnavailable
from reconciliation.model import AggregateWrite, EnrolmentKey


@pytest.mark.parametrize("layout", ["keyspace", "keyspace_other_layout"])
def test_rows_are_read_as_they_are(
    request: pytest.FixtureRequest,
    layout: str,
    connect: Callable[..., EnrolmentStore],
    store_config: StoreConfig,
    key: EnrolmentKey,
) -> None:
    keyspace = request.getfixturevalue(layout)
    store = connect(keyspace=keyspace)
    rows = CurrentRows(replace(store_config, keyspace=keyspace))
    try:
        assert rows.enrolment(key) is None
        assert rows.course_aggregate(key) is None
        write = AggregateWrite(key.course_id, key.user_id, key.batch_id, 3.0, 1_700_000_000_123, 1_000)
        assert store.write_aggregates([[write]]) == [None]
        assert rows.course_aggregate(key) == CurrentAggregate(3.0, 1_700_000_000_123)
    finally:
        rows.close()


def test_an_enrolment_and_its_empty_cells(store_config: StoreConfig, database: Any, key: EnrolmentKey) -> None:
    rows = CurrentRows(store_config)
    try:
        database.enrol(key, 1_000, status=2, progress=4, datetime=9_000, completedon=8_000, active=True)
        assert rows.enrolment(key) == CurrentEnrolment(2, 4, 8_000, 9_000, active=True)
        other = replace(key, batch_id="other")
        database.enrol(other, 1_000, active=False)
        assert rows.enrolment(other) == CurrentEnrolment(None, None, None, None, active=False)
    finally:
        rows.close()


def test_a_cassandra_that_is_away_and_a_table_that_is_missing_are_told(
    store_config: StoreConfig, closed_port: int
) -> None:
    with pytest.raises(StoreUnavailable):
        CurrentRows(replace(store_config, hosts=(HOST,), port=closed_port, timeout=1.0))
    with pytest.raises(SettingsError, match="user_enrolments"):
        CurrentRows(replace(store_config, user_enrolments_table="no_such_table"))
