"""The types that a server names for what is bound are those that `reconciliation.binding` writes down itself."""

from dataclasses import fields

import pytest

from reconciliation import store_connection
from reconciliation.binding import Statement, own_encoder
from reconciliation.enrolment_store import StoreConfig
from reconciliation.store_connection import PreparedStatements

STATEMENTS = [field.name for field in fields(PreparedStatements)]


@pytest.fixture(scope="module")
def statements(store_config: StoreConfig) -> PreparedStatements:
    connection = store_connection.connect(store_config)
    connection.cluster.shutdown()
    return connection.statements


@pytest.mark.parametrize("name", STATEMENTS)
def test_nothing_that_a_worker_binds_goes_by_the_drivers_general_code(
    statements: PreparedStatements, name: str
) -> None:
    statement = getattr(statements, name)
    assert isinstance(statement, Statement)
    kinds = [column.type for column in statement.prepared.column_metadata]
    assert kinds
    assert [kind.cql_parameterized_type() for kind in kinds if own_encoder(kind) is None] == []
