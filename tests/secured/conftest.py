"""Servers that ask for users and speak TLS, beside the tests' own, until the folder's last test has ended.

KEEP_STACK=1 leaves them running.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.ports import HOST, Ports
from devstack.schema import create_keyspace
from devstack.security import Security
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.conftest import is_kept, ours_alone
from tests.support.certificates import Certificates, certificates_in
from tests.support.installation import Installation
from tests.support.run import ROOT, ports_of_this_run
from tests.support.tls_proxy import TlsProxy

# beside the ports of the tests' other servers
_AWAY = 300
_SSL_AWAY = 350
#: The user's password, and the certificates'. Nothing that any process tells may hold it.
SECRET = "hunter2-oPen5esame"
STORE_SECRET = "hunter2-k3ystore"


@dataclass(frozen=True, slots=True)
class Secured:
    """A running stack that asks for a user, and the ports at which its Redis speaks TLS.

    `redis` asks for no certificate, `redis_certified` for one.
    """

    stack: Stack
    security: Security
    certificates: Certificates
    redis: int
    redis_certified: int

    @property
    def ports(self) -> Ports:
        """Where the servers listen; Redis in plain."""
        return self.stack.ports

    def broker_url(self, port: int, password: str = SECRET, **options: object) -> str:
        """Write the broker's URL with TLS; `options` stand behind the question mark."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"rediss://{self.security.username}:{password}@{HOST}:{port}/0?{query}"

    def settings(self) -> dict[str, str]:
        """Give all settings with which everything is right."""
        user, authority = self.security.username, str(self.certificates.authority)
        return {
            "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": SECRET,
            "KAFKA_SSL_CA_LOCATION": authority,
            "LMS_CASSANDRA_USERNAME": user,
            "LMS_CASSANDRA_PASSWORD": SECRET,
            "LMS_CASSANDRA_SSL_ENABLED": "true",
            "LMS_CASSANDRA_SSL_CA_LOCATION": authority,
            "REDIS_PORT": str(self.redis),
            "REDIS_USERNAME": user,
            "REDIS_PASSWORD": SECRET,
            "REDIS_SSL_ENABLED": "true",
            "REDIS_SSL_CA_LOCATION": authority,
            "CELERY_BROKER_URL": self.broker_url(self.redis, ssl_ca_certs=authority),
            "LEDGER_SWEEP_AFTER": "2",
            "OUTAGE_BACKOFF_MOST": "2",
        }


Install = Callable[[Mapping[str, str]], Installation]


@pytest.fixture(scope="package")
def secured() -> Iterator[Secured]:
    """The servers, with all that is needed to reach them."""
    usual = ports_of_this_run()
    ports = Ports(usual.kafka + _AWAY, usual.cassandra + _AWAY, usual.redis + _AWAY)
    folder = ROOT / f".devstack-test-secured-{ports.kafka}-{ports.cassandra}-{ports.redis}"
    with ours_alone(ROOT / ".cache" / f"{folder.name}.lock"):
        folder.mkdir(exist_ok=True)
        certificates = certificates_in(folder, STORE_SECRET)
        security = Security(
            authority=certificates.authority,
            certificate=certificates.server,
            keystore=certificates.keystore,
            keystore_password=STORE_SECRET,
            username="alice",
            password=SECRET,
            kafka_ssl_port=usual.kafka + _SSL_AWAY,
        )
        stack = Stack(folder / "stack", ports, security=security)
        if not is_kept():
            stack.down(delete=True)
        stack.up()
        try:
            with (
                TlsProxy(ports.redis, certificates.server) as proxy,
                TlsProxy(ports.redis, certificates.server, certificates.authority) as certified,
            ):
                yield Secured(stack, security, certificates, proxy.port, certified.port)
        finally:
            if not is_kept():
                stack.down(delete=True)
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()


@pytest.fixture(scope="package")
def secured_keyspace(secured: Secured) -> str:
    """A keyspace of the secured Cassandra with all tables."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_keyspace(HOST, secured.ports.cassandra, name, security=secured.security)
    return name


@pytest.fixture
def install(secured: Secured, secured_keyspace: str, logs: Path) -> Install:
    """Makes an installation of an environment of its own, with these settings besides the right ones."""

    def make(settings: Mapping[str, str]) -> Installation:
        environment = f"test-{uuid.uuid4().hex[:12]}"
        create_topics(secured.ports.bootstrap, topic_names(environment), options=secured.security.kafka_client())
        # one that is set to an empty text counts as not set
        given = {**secured.settings(), **settings}
        return Installation(secured.ports, environment, secured_keyspace, logs, given, security=secured.security)

    return make
