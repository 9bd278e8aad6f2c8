"""What Cassandra's certificates and data centres mean to a connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from devstack.cassandra import DATA_CENTRE
from devstack.ports import free_port
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import SettingsError, StoreUnavailable
from reconciliation.from_settings import store_config
from reconciliation.settings import load_settings
from tests.secured.conftest import SECRET, Secured
from tests.support.certificates import certificates_in
from tests.support.tls_proxy import TlsProxy


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


@pytest.mark.parametrize("checked", ["true", "false"])
def test_a_certificate_must_name_the_address_unless_names_are_not_checked(
    secured: Secured, secured_keyspace: str, tmp_path: Path, checked: str
) -> None:
    elsewhere = certificates_in(tmp_path, "secret", "127.0.0.2")
    # nobody is behind it: what counts is whether the client gets past the certificate
    with TlsProxy(free_port(), elsewhere.server) as proxy:
        changed = {
            "LMS_CASSANDRA_PORT": str(proxy.port),
            "LMS_CASSANDRA_SSL_CA_LOCATION": str(elsewhere.authority),
            "LMS_CASSANDRA_SSL_HOSTNAME_VERIFICATION": checked,
            "LMS_CASSANDRA_TIMEOUT": "30",
        }
        with (
            pytest.raises(StoreUnavailable) as caught,
            connected(secured, secured_keyspace, **changed),
        ):
            pass
    assert ("certificate is not valid for '127.0.0.1'" in str(caught.value)) is (checked == "true")


def test_a_file_that_is_no_certificate_is_refused(secured: Secured, secured_keyspace: str) -> None:
    with (
        pytest.raises(SettingsError, match=r"lms-cassandra\.ssl\.ca\.location"),
        connected(secured, secured_keyspace, LMS_CASSANDRA_SSL_CA_LOCATION=__file__),
    ):
        pass


def test_one_of_several_contact_points_is_enough(secured: Secured, secured_keyspace: str) -> None:
    with connected(secured, secured_keyspace, LMS_CASSANDRA_HOST="127.0.0.9,127.0.0.1") as store:
        store.probe()
