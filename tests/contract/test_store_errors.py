"""Which of our errors each of the driver's stands for: the request's own, or a server that may be away."""

import struct

import pytest
from cassandra import (
    ConsistencyLevel,
    InvalidRequest,
    OperationTimedOut,
    ReadFailure,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    WriteTimeout,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException, ConnectionShutdown
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError

from reconciliation.errors import RequestFailed, StoreUnavailable
from reconciliation.store_errors import translated

QUORUM = ConsistencyLevel.LOCAL_QUORUM


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("Key length of 70000 is longer than maximum of 65535"),
        TypeError("wrong type for a column"),
        ValueError("too many values"),
        struct.error("'H' format requires 0 <= number <= 65535"),
        NoHostAvailable("none", {"a": struct.error("x"), "b": ValueError("x")}),
    ],
)
def test_errors_of_the_request_alone(error: Exception) -> None:
    assert type(translated(error)) is RequestFailed


@pytest.mark.parametrize(
    "error",
    [
        NoHostAvailable("none", {}),
        NoHostAvailable("none", {"a": ConnectionException("down")}),
        NoHostAvailable("none", {"a": ConnectionException("down"), "b": struct.error("x")}),
        OperationTimedOut(),
        Unavailable("too few", QUORUM, 2, 1),
        ReadTimeout("slow", consistency=QUORUM),
        WriteTimeout("slow", consistency=QUORUM, write_type=0),
        ReadFailure("failed", consistency=QUORUM),
        ConnectionException("reset"),
        ConnectionShutdown("closed"),
        OverloadedErrorMessage(0x1001, "overloaded", {}),
        IsBootstrappingErrorMessage(0x1002, "bootstrapping", {}),
        ServerError(0, "trouble", {}),
        Unauthorized("no right to MODIFY"),
        RuntimeError("what the driver has never raised before"),
    ],
)
def test_errors_that_may_be_a_servers(error: Exception) -> None:
    assert type(translated(error)) is StoreUnavailable
