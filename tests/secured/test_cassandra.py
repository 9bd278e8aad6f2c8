"""What Cassandra's certificates and data centres mean to a connection."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from devstack.cassandra import DATA_CENTRE
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import SettingsError, StoreUnavailable
from reconciliation.settings import load_settings
from reconciliation.store_connection import store_config
from tests.secured.conftest import SECRET, Secured


@contextmanager
def connected(secured: Secured, keyspace: str, **changed: str) -> Iterator[EnrolmentStore]:
    right = {
        "LMS_CASSANDRA_PORT": str(secured.ports.cassandra),
        "LMS_CASSANDRA_KEYSPACE": keyspace,
        "LMS_CASSANDRA_USERNAME": secured.security.username,
        "LMS_CASSANDRA_PASSWORD": SECRET,
        "LMS_CASSANDRA_SSL_ENABLED": "true",
        "LMS_CASSANDRA_SSL_CA_LOCATION": str(secured.certificates.authority),
    }
    store = EnrolmentStore.connect(store_config(load_settings({**right, **changed})), Counters(CollectorRegistry()))
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("several", ["true", "false"])
def test_a_data_centre_that_nobody_named_is_told_where_there_are_several(
    secured: Secured, secured_keyspace: str, several: str
) -> None:
    with (
        capture_logs() as told,
        connected(secured, secured_keyspace, LMS_CASSANDRA_ISMULTIDCENABLED=several) as store,
    ):
        store.probe()
    warnings = [it for it in told if "LMS_CASSANDRA_LOCALDATACENTER" in it["event"]]
    assert [it["taken"] for it in warnings] == ([DATA_CENTRE] if several == "true" else [])


def test_a_data_centre_that_is_named_is_not_told(secured: Secured, secured_keyspace: str) -> None:
    named = {"LMS_CASSANDRA_ISMULTIDCENABLED": "true", "LMS_CASSANDRA_LOCALDATACENTER": DATA_CENTRE}
    with capture_logs() as told, connected(secured, secured_keyspace, **named) as store:
        store.probe()
    assert told == []


def test_a_data_centre_that_is_none_is_refused_with_those_that_are(secured: Secured, secured_keyspace: str) -> None:
    with (
        pytest.raises(SettingsError, match=r"\(LMS_CASSANDRA_LOCALDATACENTER\) is 'dc9': .* are datacenter1"),
        connected(secured, secured_keyspace, LMS_CASSANDRA_LOCALDATACENTER="dc9"),
    ):
        pass


def test_a_certificate_must_name_the_address_unless_names_are_not_checked(
    secured: Secured, secured_keyspace: str
) -> None:
    # the certificate names 127.0.0.1
    with (
        pytest.raises(StoreUnavailable, match="LMS_CASSANDRA_SSL_ENABLED"),
        connected(secured, secured_keyspace, LMS_CASSANDRA_HOST="localhost"),
    ):
        pass
    unchecked = {"LMS_CASSANDRA_HOST": "localhost", "LMS_CASSANDRA_SSL_HOSTNAME_VERIFICATION": "false"}
    with connected(secured, secured_keyspace, **unchecked) as store:
        store.probe()


def test_a_file_that_is_no_certificate_is_refused(secured: Secured, secured_keyspace: str) -> None:
    with (
        pytest.raises(SettingsError, match=r"lms-cassandra\.ssl\.ca\.location"),
        connected(secured, secured_keyspace, LMS_CASSANDRA_SSL_CA_LOCATION=__file__),
    ):
        pass


def test_one_of_several_contact_points_is_enough(secured: Secured, secured_keyspace: str) -> None:
    with connected(secured, secured_keyspace, LMS_CASSANDRA_HOST="127.0.0.9,127.0.0.1") as store:
        store.probe()
