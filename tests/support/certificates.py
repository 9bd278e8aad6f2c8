"""Certificates made for a test: an authority, a server's for 127.0.0.1 and a client's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from devstack.ports import HOST


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in one folder, PEM unless said otherwise.

    `server` holds the server's certificate and its key, `keystore` both as PKCS 12. `client` and `client_key` are a
    client's, `locked_client_key` is the same key under the password `locked`. `stranger` is another authority, which
    signed none of them.
    """

    authority: Path
    server: Path
    keystore: Path
    client: Path
    client_key: Path
    locked_client_key: Path
    stranger: Path


def certificates_in(folder: Path, secret: str, address: str = HOST) -> Certificates:
    """Make certificates, the server's for an address, unless the folder holds some.

    `secret` locks the keystore and the locked key.
    """
    files = Certificates(
        *(
            folder / it
            for it in ("ca.pem", "server.pem", "server.p12", "client.pem", "client.key", "locked.key", "stranger.pem")
        )
    )
    # the last one that is written
    if files.locked_client_key.exists():
        return files
    authority_key, authority = _authority("test authority")
    _, stranger = _authority("another authority")
    server_key, server = _signed(authority_key, authority, "server", address)
    client_key, client = _signed(authority_key, authority, "client", None)
    locked = BestAvailableEncryption(secret.encode())
    files.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    files.stranger.write_bytes(stranger.public_bytes(Encoding.PEM))
    files.server.write_bytes(_private(server_key) + server.public_bytes(Encoding.PEM))
    files.keystore.write_bytes(
        pkcs12.serialize_key_and_certificates(b"server", server_key, server, [authority], locked)
    )
    files.client.write_bytes(client.public_bytes(Encoding.PEM))
    files.client_key.write_bytes(_private(client_key))
    files.locked_client_key.write_bytes(client_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return files


def _private(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _authority(name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    subject = _named(name)
    return key, (
        _begun(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def _signed(
    authority_key: rsa.RSAPrivateKey, authority: x509.Certificate, name: str, address: str | None
) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    builder = _begun(_named(name), authority.subject, key)
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return key, builder.sign(authority_key, hashes.SHA256())


def _begun(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
