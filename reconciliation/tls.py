"""What a TLS connection is made with (docs/secured-servers.md)."""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: the authority that is trusted (None: the system's), our own certificate and its key, if any.

    `verify_hostname` says whether a server's certificate must name the address that it is reached at.
    """

    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    verify_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """Make a context for connections. Raises OSError (ssl.SSLError is one) where a file holds something else."""
        context = ssl.create_default_context(cafile=self.authority)
        context.check_hostname = self.verify_hostname
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def redis_arguments(self) -> dict[str, object]:
        """Give the same as redis-py's connections take it; the names are those of redis/connection.py."""
        files = {"ssl_ca_certs": self.authority, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        return {
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": self.verify_hostname,
            **{name: path for name, path in files.items() if path is not None},
        }
