"""Every way to log in to Kafka, for what publishes; the bridge's consumer has the same options."""

from contextlib import closing

import pytest

from devstack.ports import HOST
from devstack.topics import create_topics
from reconciliation.errors import PublishFailed, SettingsError
from reconciliation.kafka_options import connection_options
from reconciliation.model import OutgoingEvent
from reconciliation.publisher import EventPublisher
from reconciliation.settings import load_settings
from tests.secured.conftest import SECRET, STORE_SECRET, Secured

TOPIC = "logins"


def settings_of(secured: Secured, way: str) -> dict[str, str]:
    certificates = secured.certificates
    own = {
        "KAFKA_BROKER_SERVERS": f"{HOST}:{secured.security.kafka_ssl_port}",
        "KAFKA_SECURITY_PROTOCOL": "ssl",
        "KAFKA_SSL_CA_LOCATION": str(certificates.authority),
        "KAFKA_SSL_CERTIFICATE_LOCATION": str(certificates.client),
    }
    if way == "certificate":
        return own | {"KAFKA_SSL_KEY_LOCATION": str(certificates.client_key)}
    if way == "certificate with a locked key":
        locked = {"KAFKA_SSL_KEY_LOCATION": str(certificates.locked_client_key), "KAFKA_SSL_KEY_PASSWORD": STORE_SECRET}
        return own | locked
    return {
        "KAFKA_BROKER_SERVERS": secured.ports.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "KAFKA_SASL_MECHANISM": way,
        "KAFKA_SASL_USERNAME": secured.security.username,
        "KAFKA_SASL_PASSWORD": SECRET,
        "KAFKA_SSL_CA_LOCATION": str(certificates.authority),
    }


@pytest.mark.parametrize(
    "way", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "certificate", "certificate with a locked key"]
)
def test_events_get_through(secured: Secured, way: str) -> None:
    create_topics(secured.ports.bootstrap, [TOPIC], options=secured.security.kafka_client())
    options = connection_options(load_settings(settings_of(secured, way)))
    with closing(EventPublisher(options, 30.0)) as publisher:
        assert publisher.publish([OutgoingEvent(TOPIC, b"k", b"1")]) == [None]
        publisher.probe()


@pytest.mark.parametrize("way", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_what_an_event_fails_with(secured: Secured, way: str) -> None:
    options = connection_options(load_settings(settings_of(secured, way) | {"KAFKA_SASL_PASSWORD": "hunter3-wrong"}))
    # within it the refusal has to be heard, on a busy machine too
    with closing(EventPublisher(options, 8.0)) as publisher:
        (result,) = publisher.publish([OutgoingEvent(TOPIC, b"k", b"1")])
        assert isinstance(result, PublishFailed)
        assert "KAFKA_SASL_PASSWORD" in str(result)
        assert "hunter3" not in str(result)
        with pytest.raises(PublishFailed, match="KAFKA_SASL_PASSWORD"):
            publisher.probe()


def test_a_key_without_its_password_is_refused_at_once(secured: Secured) -> None:
    settings = settings_of(secured, "certificate with a locked key") | {"KAFKA_SSL_KEY_PASSWORD": "hunter3-wrong"}
    with pytest.raises(SettingsError, match=r"^kafka\.ssl\.key\.location \(KAFKA_SSL_KEY_LOCATION\)") as caught:
        connection_options(load_settings(settings))
    assert "hunter3" not in str(caught.value)
