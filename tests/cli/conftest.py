import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

import needed
from serving import WAIT_S

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@pytest.fixture
def certificates(tmp_path):
    program = needed.program("openssl")

    def openssl(*arguments):
        done = subprocess.run(
            [program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    class Certificates:
        def __init__(self):
            # What Python 3.13 and later want of certificates, here and below.
            usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
            subject = ("-subj", "/CN=authority")
            openssl("req", "-x509", *EC, "-nodes", *subject, *usage, "-keyout", "ca.key", "-out", "ca.pem")
            self.client = ssl.create_default_context(cafile=tmp_path / "ca.pem")

        def issue(self, name="", password="", names=("localhost",), kind=EC):
            """Writes a new certificate and its key, cert.pem and key.pem; the certificate's number."""
            encrypted = ("-passout", f"pass:{password}") if password else ("-nodes",)
            key, certificate = f"{name}key.pem", f"{name}cert.pem"
            openssl("req", *kind, *encrypted, "-subj", "/CN=localhost", "-keyout", key, "-out", "request")
            alternatives = ",".join(f"DNS:{each}" for each in names) or "IP:127.0.0.1"
            extensions = (f"subjectAltName={alternatives}", "authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash")
            (tmp_path / "names").write_text("\n".join(extensions))
            authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
            openssl("x509", "-req", "-in", "request", *authority, "-extfile", "names", "-out", certificate)
            return openssl("x509", "-noout", "-serial", "-in", certificate).strip().removeprefix("serial=")

        def shown(self, server, asked="localhost"):
            with (
                socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as raw,
                self.client.wrap_socket(raw, server_hostname=asked) as client,
            ):
                client.sendall(b"GET /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                said = client.makefile("rb").read()
                assert b"('https', '127.0.0.1')" in said
                assert client.version() in ("TLSv1.2", "TLSv1.3")
                return client.getpeercert()["serialNumber"]

    return Certificates()


@pytest.fixture
def open_folder():
    """A folder that everybody may enter, which is not so below pytest's."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
