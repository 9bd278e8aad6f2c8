"""What a secured stack asks of its clients: certificates, a user and a password."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Security:
    """Turns a stack's authentication and TLS on.

    `authority` is the certificate (PEM) that signed the servers' own, `certificate` that one followed by its key
    (PEM), `keystore` both once more as PKCS 12 under `keystore_password`. Everybody is `username` with `password`.
    On `kafka_ssl_port` Kafka listens once more, to clients that show a certificate of the authority and name no user.
    Redis has a user and no TLS: the programs that packages bring are built without it for some platforms.
    """

    authority: Path
    certificate: Path
    keystore: Path
    keystore_password: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    kafka_ssl_port: int

    def kafka_client(self) -> dict[str, str]:
        """Return the options of librdkafka for a client of the stack."""
        return {
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "PLAIN",
            "sasl.username": self.username,
            "sasl.password": self.password,
            "ssl.ca.location": str(self.authority),
        }

    def tls(self) -> ssl.SSLContext:
        """Return how a client of Cassandra checks the server's certificate; its name is checked too."""
        return ssl.create_default_context(cafile=str(self.authority))
