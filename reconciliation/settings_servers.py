"""The settings that say where the servers are and how they let us in, those of each server in a module of their own.

See docs/settings.md.
"""

from dataclasses import dataclass, field
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_broker import BrokerSettings
from reconciliation.settings_cassandra import CassandraSettings
from reconciliation.settings_catalogue import Check, Others
from reconciliation.settings_kafka import KafkaSettings
from reconciliation.settings_redis import RedisSettings
from reconciliation.settings_relations import RelationSettings
from reconciliation.settings_sources import Documented
from reconciliation.settings_urls import BASE_PATH


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """The environment's name."""

    environment: Annotated[
        str,
        kind.ENVIRONMENT,
        Documented("env", "The environment's name; stands for {{env}} in every other value.", ("job.env",)),
    ] = "local"


def _goes_with_search_tls(path: str | None, others: Others) -> str | None:
    base_path = others.get("search_base_path", "https://")
    if path is not None and not (base_path or "").startswith("https://"):
        raise ValueError("service.search.basePath is no https:// URL, and it would not be used")
    return path


def _is_the_only_search_header(header: tuple[str, str] | None, others: Others) -> tuple[str, str] | None:
    if header is not None and others.get("search_token") is not None:
        raise ValueError("service.search.token is given, and only one of the two can be sent")
    return header


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The search service: address, time limit in seconds, and what shows it who we are."""

    search_base_path: Annotated[
        str | None,
        BASE_PATH,
        Documented(
            "service.search.basePath",
            "The search service, asked only about courses whose leaf nodes are missing.",
            secret=True,
        ),
    ] = field(default=None, repr=False)
    search_timeout: Annotated[
        float,
        kind.seconds(0.1, 600),
        Documented("service.search.timeout", "How long a search may take."),
    ] = 10.0
    search_token: Annotated[
        str | None,
        kind.BEARER_TOKEN,
        Documented("service.search.token", "Sent to it as `Authorization: Bearer …`.", secret=True),
    ] = field(default=None, repr=False)
    search_header: Annotated[
        tuple[str, str] | None,
        kind.HEADER,
        Check(_is_the_only_search_header),
        Documented("service.search.header", "Sent to it as a header, in place of a token.", secret=True),
    ] = field(default=None, repr=False)

    search_ssl_ca_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_search_tls),
        Documented(
            "service.search.ssl.ca.location",
            "The authority that signed its certificate (PEM).",
            default="the usual public authorities",
        ),
    ] = None


# The last one comes first: what stands on the right is read before what may hang on it.
@dataclass(frozen=True, kw_only=True)
class ServerSettings(
    BrokerSettings,
    SearchSettings,
    RelationSettings,
    RedisSettings,
    CassandraSettings,
    KafkaSettings,
    EnvironmentSettings,
):
    """Kafka, Cassandra, Redis, where relation sets come from, the search service and Celery's broker."""
