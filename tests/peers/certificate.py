"""An authority that nobody knows, and its certificate for localhost.

    certificate.py FOLDER   ->   FOLDER/authority.pem, FOLDER/server.pem, FOLDER/server.key
"""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = pathlib.Path(sys.argv[1])
NOW = datetime.datetime.now(datetime.timezone.utc)


def name(of):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, of)])


def certificate(of, by, public_key, signing_key, extensions):
    builder = (x509.CertificateBuilder().subject_name(name(of)).issuer_name(name(by)).public_key(public_key)
               .serial_number(x509.random_serial_number())
               .not_valid_before(NOW - datetime.timedelta(hours=1))
               .not_valid_after(NOW + datetime.timedelta(days=1)))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"),
                                         x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    (FOLDER / "authority.pem").write_bytes(certificate(
        "Test authority", "Test authority", authority.public_key(), authority,
        [x509.BasicConstraints(ca=True, path_length=0)]))
    (FOLDER / "server.pem").write_bytes(certificate(
        "localhost", "Test authority", server.public_key(), authority,
        [x509.BasicConstraints(ca=False, path_length=None), names, usage]))
    (FOLDER / "server.key").write_bytes(server.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


main()
