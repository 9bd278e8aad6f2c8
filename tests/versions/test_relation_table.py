"""The tests of this name in tests/contract, with the other version of Cassandra."""

from tests.contract.test_relation_table import *  # noqa: F403 - whatever is tested there
