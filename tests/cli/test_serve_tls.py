"""TLS of `ioring serve`: certificates, versions, time-outs, and its end, with real clients."""

import signal
import socket
import ssl
import subprocess
import time

import pytest

import needed
from serving import WAIT_S, Serving, curl, refused

TLS = ("--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls_and_new_certificates(tmp_path, certificates, workers):
    first = certificates.issue()
    with Serving(tmp_path, "main:app", *TLS, "--workers", workers) as server:
        assert server.url.startswith("https://")
        assert certificates.shown(server) == first
        second = certificates.issue()
        assert certificates.shown(server) == first
        server.signal(signal.SIGHUP)
        server.wait_for("certificates were read again|all workers are replaced")

        def second_is_shown():  # by a worker that ends the first one may be, for a moment
            deadline = time.monotonic() + WAIT_S
            while certificates.shown(server) != second:
                assert time.monotonic() < deadline

        second_is_shown()
        if workers == "1":
            (tmp_path / "cert.pem").write_text("none")
            server.signal(signal.SIGHUP)
            server.wait_for("certificates stay what they were")
            assert certificates.shown(server) == second
        # What is no TLS bothers nobody.
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.recv(1000)
        second_is_shown()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stop_while_nobody_says_goodbye(tmp_path, certificates, workers):
    """A browser does not read from connections that it keeps for later: the server's end does not wait for it."""
    certificates.issue()
    with Serving(tmp_path, "main:app", *TLS, "--workers", workers) as server:
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
        with raw, certificates.client.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(b"GET /seen HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b" 200 " in client.recv(1000)
            server.signal(signal.SIGTERM)
            assert server.ended() == 0  # in time
    assert server.errors == []


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "asyncio"])
def test_stop_while_a_connection_closes(tmp_path, certificates, ring):
    """It was silent for too long, is closed for that, and the client has not said goodbye yet."""
    certificates.issue()
    options = ("--timeout-keep-alive", "0.5", "--fallback", "asyncio")
    with Serving(tmp_path, "main:app", *TLS, *options, ring=ring) as server:
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
        with raw, certificates.client.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(b"GET /seen HTTP/1.1\r\nHost: a\r\n\r\n")
            while client.recv(1000):
                pass
            server.signal(signal.SIGTERM)
            assert server.ended() == 0  # in time
    assert not any("Traceback" in line for line in server.errors), server.errors


def test_certificates_of_clients(tmp_path, certificates):
    certificates.issue()
    options = ("--ssl-ca-certs", "ca.pem", "--ssl-cert-reqs", "required", "--ssl-ciphers", "ECDHE+AESGCM")
    with Serving(tmp_path, "main:app", *TLS, *options) as server:
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            certificates.shown(server)
        certificates.issue("client-")
        certificates.client.load_cert_chain(tmp_path / "client-cert.pem", tmp_path / "client-key.pem")
        certificates.shown(server)


def test_keys(tmp_path, certificates):
    certificates.issue(password="open")
    assert "ssl_keyfile_password" in refused(*TLS, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert "ssl_keyfile_password" in refused(*TLS, "--ssl-keyfile-password", "shut", cwd=tmp_path)
    with Serving(tmp_path, "main:app", *TLS, "--ssl-keyfile-password", "open") as server:
        certificates.shown(server)
    certificates.issue("other-")
    assert "not that of the certificate" in refused(
        "--ssl-certfile", "cert.pem", "--ssl-keyfile", "other-key.pem", cwd=tmp_path
    )
    assert "none of nonsense" in refused(*TLS, "--ssl-ciphers", "nonsense", cwd=tmp_path)


def test_certificates_by_name(tmp_path, certificates):
    """The first one for the name that is asked for, or else the first."""
    certificates.client.check_hostname = False
    numbers = [
        certificates.issue("a-", names=["localhost", "a.example"]),
        certificates.issue("b-", names=["B.example", "*.example.org"]),
        certificates.issue("c-", names=["b.example", "www.example.org", "c.example"]),
    ]
    files = [
        part for each in "abc" for part in ("--ssl-certfile", f"{each}-cert.pem", "--ssl-keyfile", f"{each}-key.pem")
    ]
    wanted = {
        "a.example": 0,
        "b.example": 1,
        "B.EXAMPLE": 1,
        "any.example.org": 1,
        "example.org": 0,
        "two.labels.example.org": 0,
        "www.example.org": 2,
        "c.example": 2,
        "unknown": 0,
        None: 0,
    }
    with Serving(tmp_path, "main:app", *files) as server:
        for name, number in wanted.items():
            assert certificates.shown(server, name) == numbers[number], name
        numbers[0] = certificates.issue("a-", names=["a.example"])
        numbers[1] = certificates.issue("b-", names=["any.example.org", "new.example"])
        server.signal(signal.SIGHUP)
        server.wait_for("certificates were read again")
        for name, number in {"a.example": 0, "new.example": 1, "b.example": 2, "x.example.org": 0}.items():
            assert certificates.shown(server, name) == numbers[number], name
    assert server.errors == []


def test_two_kinds_of_certificates_for_a_name(tmp_path, certificates):
    """Each client gets the one that it can use; as curl and openssl ask for them."""
    certificates.issue("ec-")
    certificates.issue("rsa-", kind=("-newkey", "rsa:2048"))
    files = [
        part
        for each in ("ec", "rsa")
        for part in ("--ssl-certfile", f"{each}-cert.pem", "--ssl-keyfile", f"{each}-key.pem")
    ]
    with Serving(tmp_path, "main:app", *files) as server:
        for kind, shown in (("ECDSA", "id-ecPublicKey"), ("RSA", "rsaEncryption")):
            ciphers = ("-tls1_2", "-cipher", f"ECDHE-{kind}-AES256-GCM-SHA384", "-servername", "localhost")
            connected = subprocess.run(
                [needed.program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", *ciphers],
                input=b"",
                capture_output=True,
                timeout=WAIT_S,
                check=True,
            )
            certificate = subprocess.run(
                [needed.program("openssl"), "x509", "-noout", "-text"],
                input=connected.stdout,
                capture_output=True,
                timeout=WAIT_S,
                check=True,
            )
            assert f"Public Key Algorithm: {shown}" in certificate.stdout.decode()
        url = f"https://localhost:{server.port}/seen"
        assert "https" in curl(tmp_path, "--cacert", "ca.pem", "--resolve", f"localhost:{server.port}:127.0.0.1", url)


def test_certificates_that_cannot_be(tmp_path, certificates):
    certificates.issue("a-")
    certificates.issue("b-", names=())
    both = ("--ssl-certfile", "a-cert.pem", "--ssl-certfile", "b-cert.pem")
    keys = ("--ssl-keyfile", "a-key.pem")
    assert "there are 1 for 2 certificates" in refused(*both, *keys, cwd=tmp_path)
    assert "b-cert.pem: the certificate is for no host name" in refused(
        *both, *keys, "--ssl-keyfile", "b-key.pem", cwd=tmp_path
    )
    certificates.issue("b-")
    assert "not that of the certificate (b-cert.pem, a-key.pem)" in refused(*both, *keys, *keys, cwd=tmp_path)


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "asyncio"])
def test_lowest_version(tmp_path, certificates, ring):
    certificates.issue()
    old = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    new, certificates.client = certificates.client, old
    with Serving(tmp_path, "main:app", *TLS, "--ssl-min-version", "1.2", "--fallback", "asyncio", ring=ring) as server:
        certificates.shown(server)
    with Serving(tmp_path, "main:app", *TLS, "--ssl-min-version", "1.3", "--fallback", "asyncio", ring=ring) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            certificates.shown(server)
        certificates.client = new
        certificates.shown(server)


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "asyncio"])
def test_handshake_that_does_not_end(tmp_path, certificates, ring):
    certificates.issue()
    options = ("--timeout-handshake", "0.5", "--fallback", "asyncio")
    with Serving(tmp_path, "main:app", *TLS, *options, ring=ring) as server:
        with server.connect() as silent, server.connect() as half:
            half.sendall(b"\x16\x03\x01\x02\x00")  # the beginning of a record
            assert silent.recv(1) == half.recv(1) == b""
        certificates.shown(server)
    assert not any("Traceback" in line for line in server.errors), server.errors


def test_handshake_without_a_limit(tmp_path, certificates):
    certificates.issue()
    with Serving(tmp_path, "main:app", *TLS, "--timeout-handshake", "0") as server:
        certificates.shown(server)
