"""What the driver's errors mean, and how they are told."""

import struct

from cassandra import (
    AuthenticationFailed,
    DriverException,
    FunctionFailure,
    RequestValidationException,
    Unauthorized,
)
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import ConfigurationException, ProtocolException, SyntaxException

from reconciliation.errors import ReconciliationError, RequestFailed, StoreUnavailable

# the last ones are all that is told where one side speaks TLS and the other does not
_SIGNS_OF_TLS = ("SSL", "certificate", "closed", "shutdown", "reset")

#: The settings of TLS, as an error names them.
TLS_FILES = (
    "lms-cassandra.ssl.enabled (LMS_CASSANDRA_SSL_ENABLED), lms-cassandra.ssl.ca.location and what goes with them"
)

# What says that the request itself can't be carried out. Anything else may be a server's trouble: it is called an
# outage, and the probe that the retry policy makes then decides (docs/reliability.md, outages).
_ERRORS_OF_THE_REQUEST = (
    RequestValidationException,
    SyntaxException,
    ConfigurationException,
    FunctionFailure,
    ValueError,
    TypeError,
    struct.error,
)


def translated(error: Exception) -> ReconciliationError:
    """Return what a driver's exception means: RequestFailed or StoreUnavailable, with the driver's text."""
    causes: list[Exception] = [error]
    if isinstance(error, NoHostAvailable) and error.errors:
        # What fails while a message is encoded arrives as one cause a host (cassandra/cluster.py,
        # ResponseFuture._query).
        causes = list(error.errors.values()) if isinstance(error.errors, dict) else causes
    # A right that is missing is no request's fault, though the driver counts it among the invalid requests.
    if all(isinstance(it, _ERRORS_OF_THE_REQUEST) and not isinstance(it, Unauthorized) for it in causes):
        return RequestFailed(f"Cassandra can't take this request: {causes[0]}")
    return StoreUnavailable(f"Cassandra did not answer: {type(error).__name__}: {error}")


def refuses_protocol(error: NoHostAvailable) -> bool:
    """Say whether a host would not speak the version of the protocol that we began with."""
    causes = error.errors.values() if isinstance(error.errors, dict) else ()
    # a plain DriverException is what the driver makes of a version that a host does not know (cassandra/cluster.py,
    # protocol_downgrade); one that a host knows and does not take is a ProtocolException
    return any(isinstance(cause, ProtocolException) or type(cause) is DriverException for cause in causes)


def told(error: Exception) -> str:
    """Tell why no host took us, in one line, with what to look at where that is a matter of settings."""
    causes = list(error.errors.values()) if isinstance(error, NoHostAvailable) and error.errors else [error]
    # of many hosts mostly the same
    text = " ".join(str(causes[0]).split())
    if any(isinstance(cause, AuthenticationFailed) for cause in causes):
        return f"{text} (look at lms-cassandra.username and lms-cassandra.password, LMS_CASSANDRA_PASSWORD)"
    if any(sign in str(cause) for cause in causes for sign in _SIGNS_OF_TLS):
        return f"{text} (where it is up, look at {TLS_FILES})"
    return text
