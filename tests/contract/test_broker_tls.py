"""An amqps:// broker's certificate is checked, played by a port that only speaks TLS: no package brings RabbitMQ."""

import socket
import ssl
import threading
from contextlib import closing

import pytest
from kombu import Connection

from devstack.ports import HOST
from reconciliation.broker_options import broker_options
from reconciliation.settings import load_settings
from tests.support.certificates import Certificates, certificates_in


class Listener:
    """Takes one connection, and says whether its TLS handshake was completed and who showed a certificate."""

    def __init__(self, certificates: Certificates) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.authority))
        self._context.load_cert_chain(certificates.server)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._socket = socket.create_server((HOST, 0))
        self._socket.settimeout(20)
        self.port: int = self._socket.getsockname()[1]
        self.greeted = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the connection's end."""
        self._thread.join(20)
        self._socket.close()

    def _serve(self) -> None:
        plain, _ = self._socket.accept()
        plain.settimeout(10)
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                self.greeted = connection.recv(8)
        except OSError:
            plain.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("certificates"), "secret")


@pytest.fixture(scope="module")
def other_host(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("elsewhere"), "secret", "127.0.0.2")


def greeting(served: Certificates, **changed: str) -> bytes:
    """Connect as Celery does; gives what the broker was greeted with, nothing where the client turned away."""
    with closing(Listener(served)) as listener:
        settings = load_settings(
            {
                "CELERY_BROKER_URL": f"amqps://user:password@{HOST}:{listener.port}//",
                "CELERY_BROKER_SSL_CA_LOCATION": str(served.authority),
                "CELERY_BROKER_SSL_CERTIFICATE_LOCATION": str(served.client),
                "CELERY_BROKER_SSL_KEY_LOCATION": str(served.client_key),
                **changed,
            }
        )
        made = broker_options(settings)
        with (
            Connection(made.url, ssl=made.use_ssl, transport_options=made.transport, connect_timeout=5) as connection,
            pytest.raises(OSError, match=r".*"),
        ):
            connection.connect()
    return listener.greeted


def test_a_broker_that_its_authority_knows_is_greeted(certificates: Certificates) -> None:
    assert greeting(certificates).startswith(b"AMQP")


def test_one_that_another_authority_signed_is_not(certificates: Certificates) -> None:
    assert greeting(certificates, CELERY_BROKER_SSL_CA_LOCATION=str(certificates.stranger)) == b""


def test_one_of_another_name_is_not_unless_names_are_not_checked(other_host: Certificates) -> None:
    assert greeting(other_host) == b""
    assert greeting(other_host, CELERY_BROKER_SSL_HOSTNAME_VERIFICATION="false").startswith(b"AMQP")
