"""The settings of Cassandra: where it is, what is called how there and how we log in; see docs/settings.md."""

from dataclasses import dataclass, field
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_catalogue import Check, Others, used_only_with
from reconciliation.settings_sources import Documented

_GOES_WITH_TLS = used_only_with("cassandra_ssl_enabled", "lms-cassandra.ssl.enabled")


def _goes_with_cassandra_user(password: str | None, others: Others) -> str | None:
    if "cassandra_username" in others and (password is None) != (others["cassandra_username"] is None):
        raise ValueError("lms-cassandra.username and lms-cassandra.password go together")
    return password


@dataclass(frozen=True, kw_only=True)
class CassandraSettings:
    """Addresses, tables, data centre, time limit in seconds, user, password and certificates."""

    cassandra_hosts: Annotated[
        tuple[str, ...],
        kind.HOSTS,
        Documented("lms-cassandra.host", "Cassandra nodes to ask for the others."),
    ] = ("127.0.0.1",)
    cassandra_port: Annotated[
        int, kind.PORT, Documented("lms-cassandra.port", "The port of Cassandra's native protocol.")
    ] = 9042
    cassandra_keyspace: Annotated[
        str, kind.CQL_IDENTIFIER, Documented("lms-cassandra.keyspace", "The keyspace of the three tables.")
    ] = "sunbird_courses"
    content_consumption_table: Annotated[
        str,
        kind.CQL_IDENTIFIER,
        Documented(
            "lms-cassandra.content_consumption.table",
            "What each learner consumed; only read.",
            ("lms-cassandra.consumption.table",),
        ),
    ] = "user_content_consumption"
    user_enrolments_table: Annotated[
        str, kind.CQL_IDENTIFIER, Documented("lms-cassandra.user_enrolments.table", "The enrolments.")
    ] = "user_enrolments"
    user_activity_agg_table: Annotated[
        str, kind.CQL_IDENTIFIER, Documented("lms-cassandra.user_activity_agg.table", "The aggregates.")
    ] = "user_activity_agg"
    cassandra_multi_datacenter: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "lms-cassandra.isMultiDCEnabled",
            "Whether there are several data centres: then lms-cassandra.localDatacenter should be given, and a warning "
            "says so where it isn't. Every statement asks for LOCAL_QUORUM either way.",
        ),
    ] = False
    cassandra_local_datacenter: Annotated[
        str | None,
        kind.SHORT_TEXT,
        Documented(
            "lms-cassandra.localDatacenter",
            "The data centre whose nodes are asked.",
            default="that of the node that answers first",
        ),
    ] = None
    cassandra_timeout: Annotated[
        float, kind.seconds(0.1, 600), Documented("lms-cassandra.timeout", "How long a statement may take.")
    ] = 10.0
    cassandra_write_timestamps: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "lms-cassandra.write.timestamps",
            "Whether writes carry USING TIMESTAMP; false for YugabyteDB only, which gives up what it protects.",
        ),
    ] = True
    cassandra_username: Annotated[str | None, kind.SHORT_TEXT, Documented("lms-cassandra.username", "The user.")] = None
    cassandra_password: Annotated[
        str | None,
        kind.SECRET,
        Check(_goes_with_cassandra_user),
        Documented("lms-cassandra.password", "The user's password.", secret=True),
    ] = field(default=None, repr=False)
    cassandra_ssl_enabled: Annotated[
        bool, kind.SWITCH, Documented("lms-cassandra.ssl.enabled", "Whether Cassandra is spoken to through TLS.")
    ] = False
    cassandra_ssl_ca_location: Annotated[
        str | None,
        kind.FILE,
        _GOES_WITH_TLS,
        Documented(
            "lms-cassandra.ssl.ca.location",
            "The authority that signed Cassandra's certificates (PEM).",
            default="the system's authorities",
        ),
    ] = None
    cassandra_ssl_certificate_location: Annotated[
        str | None,
        kind.FILE,
        _GOES_WITH_TLS,
        Documented(
            "lms-cassandra.ssl.certificate.location", "Our own certificate (PEM), where Cassandra asks for one."
        ),
    ] = None
    cassandra_ssl_key_location: Annotated[
        str | None,
        kind.FILE,
        _GOES_WITH_TLS,
        Documented("lms-cassandra.ssl.key.location", "That certificate's key (PEM)."),
    ] = None
    cassandra_ssl_hostname_verification: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "lms-cassandra.ssl.hostname.verification",
            "Whether a node's certificate must name the address that it is reached at.",
        ),
    ] = True
