"""When Cassandra is asked again with the next version of its protocol (docs/cassandra.md)."""

import pytest
from cassandra import AuthenticationFailed, DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import ProtocolException

from reconciliation.store_errors import refuses_protocol

REFUSED = ProtocolException(0x000A, "Rejecting Protocol Version 4/v4 < 5/v5.", None)
UNKNOWN = DriverException("ProtocolError returned from server while using explicitly set client protocol_version 4")


@pytest.mark.parametrize(
    ("causes", "refused"),
    [
        ([REFUSED], True),
        ([UNKNOWN], True),
        # none takes it: one is away, the other says why
        ([OSError("away"), REFUSED], True),
        ([OSError("away")], False),
        ([AuthenticationFailed("x"), OperationTimedOut()], False),
        ([], False),
    ],
)
def test_a_version_that_is_refused_is_told_from_an_outage(causes: list[Exception], refused: bool) -> None:
    error = NoHostAvailable("no host", {f"host{number}": cause for number, cause in enumerate(causes)})
    assert refuses_protocol(error) is refused
    assert not refuses_protocol(NoHostAvailable("no host", causes))
