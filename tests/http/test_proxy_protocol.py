"""The PROXY protocol: what load balancers say of their clients before anything else."""

import contextlib
import json
import socket
import struct

import pytest
from hypothesis import given, strategies

from http_servers import GET, LAST, body_of, lifeless, read_all, read_response
from ioring.http import ConfigurationError
from ioring.http.configuration import Configuration
from ioring.http.forwarded import Proxies
from ioring.http.proxy_protocol import BINARY_MAX, LINE_MAX, SIGNATURE, Malformed, binary, line
from serving import Serving, curl
from tls_peer import Certificates

SERVING = {"proxy_protocol": True}
TCP4 = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n"
FROM_4, FROM_6 = [["192.0.2.1", 4711], ["198.51.100.2", 443]], [["2001:db8::1", 4711], ["2001:db8::2", 443]]


def v2(family, addresses=b"", notes=b"", command=0x21):
    rest = addresses + notes
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


IN_4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 4711, 443)
IN_6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 4711, 443)
)
NOTE_OF_TLS = b"\x20\x00\x05\x01\0\0\0\0"


async def seen(scope, receive, send):
    said = json.dumps([scope["client"], scope["server"], scope["scheme"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


def asked(server, header):
    return json.loads(body_of(server.talk(header + LAST)))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (TCP4, [*FROM_4, "http"]),
        (TCP6, [*FROM_6, "http"]),
        (v2(0x11, IN_4), [*FROM_4, "http"]),
        (v2(0x21, IN_6), [*FROM_6, "http"]),
        (v2(0x11, IN_4, b"\x04\x00\x03pad"), [*FROM_4, "http"]),
        (v2(0x11, IN_4, b"\x04\x00\x03pad" + NOTE_OF_TLS), [*FROM_4, "https"]),
        (v2(0x11, IN_4, b"\x04" + struct.pack("!H", 3000) + bytes(3000)), [*FROM_4, "http"]),
    ],
)
def test_who_has_connected(serving, header, wanted):
    with serving(lifeless(seen)) as server:
        assert asked(server, header) == wanted
    assert server.complaints == []


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 1 2 3 4\r\n", v2(0, command=0x20), v2(0x31, bytes(216))]
)
def test_load_balancer_that_says_nothing_of_a_client(serving, header):
    with serving(lifeless(seen)) as server, server.connect() as client:
        client.sendall(header + GET)
        assert json.loads(read_response(client)[2])[0] == list(client.getsockname())
    assert server.complaints == []


@pytest.mark.parametrize("header", [TCP4, v2(0x21, IN_6, NOTE_OF_TLS), b"PROXY UNKNOWN\r\n"])
def test_byte_by_byte(serving, header):
    with serving(lifeless(seen)) as server, server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + GET:
            client.sendall(bytes([byte]))
        assert read_response(client)[0] == 200
        client.sendall(GET)  # it is said once for a connection
        assert read_response(client)[0] == 200
    assert server.complaints == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GET, "none of its headers"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "none of its headers"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n", "two addresses and two ports"),
        (b"PROXY TCP5 192.0.2.1 198.51.100.2 4711 443\r\n", "two addresses and two ports"),
        (b"PROXY TCP4 2001:db8::1 198.51.100.2 4711 443\r\n", "an address that is none of TCP4"),
        (b"PROXY TCP6 192.0.2.1 198.51.100.2 4711 443\r\n", "an address that is none of TCP6"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 65536\r\n", "a port"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n", "a port"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\n", "CR LF"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 44\xb3\r\n", "ASCII"),
        (b"PROXY UNKNOWN " + b"x" * 200, f"more than {LINE_MAX} bytes"),
        (SIGNATURE + b"\x21\x11" + struct.pack("!H", BINARY_MAX), f"more than {BINARY_MAX} bytes"),
        (v2(0x11, IN_4, command=0x11), "a version or a command"),
        (v2(0x11, IN_4, command=0x22), "a version or a command"),
        (v2(0x12, IN_4), "a family of addresses"),
        (v2(0x21, IN_4), "too short for its addresses"),
        (v2(0x11, IN_4, b"\x04\x00"), "cut off"),
        (v2(0x11, IN_4, b"\x04\x00\x05pad"), "cut off"),
    ],
)
def test_what_is_none_closes_the_connection(serving, data, words):
    with serving(lifeless(seen)) as server:
        with server.connect() as client:
            client.sendall(data)
            assert read_all(client) == b""
        assert asked(server, TCP4) == [*FROM_4, "http"]
    [(message, exception)] = server.complaints
    assert message.startswith("127.0.0.1:")
    assert "no PROXY protocol (proxy_protocol): " in message
    assert words in message
    assert exception is None


def test_lines_of_what_is_none_are_counted_after_some(serving):
    with serving(lifeless(seen)) as server:
        for _ in range(40):
            assert server.talk(GET) == b""
        assert len(server.complaints) == 10


def test_silence(serving):
    """Connections of those that only see whether somebody listens are no fault; who says nothing has an end."""
    with serving(lifeless(seen), timeout_head=0.3) as server:
        for part in (b"", TCP4[:5], v2(0x11, IN_4)[:-1]):
            with server.connect() as client:
                client.sendall(part)
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == b""
        assert server.complaints == []
        with server.connect() as client:
            assert read_all(client) == b""
    assert "nothing came in time" in server.complaints[0][0]


def test_others_are_clients_themselves(serving):
    with serving(lifeless(seen), forwarded_allow_ips="192.0.2.0/24") as server, server.connect() as client:
        client.sendall(GET)
        assert json.loads(read_response(client)[2])[0] == list(client.getsockname())
        assert server.talk(TCP4 + GET).startswith(b"HTTP/1.1 400 ")


def test_who_is_behind_the_load_balancer_is_trusted_or_not(serving):
    request = LAST.replace(b"Host", b"X-Forwarded-For: 203.0.113.9\r\nHost")
    for allowed, client in (("127.0.0.1", ["192.0.2.1", 4711]), ("127.0.0.1,192.0.2.1", ["203.0.113.9", 0])):
        with serving(lifeless(seen), forwarded_allow_ips=allowed) as server:
            assert json.loads(body_of(server.talk(TCP4 + request)))[0] == client


def test_wsgi_and_stopping(serving):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['SERVER_PORT']}".encode()]

    with serving(application, kind="wsgi") as server:
        assert body_of(server.talk(TCP4 + LAST)) == b"192.0.2.1 443"
        with server.connect() as silent:  # it does not keep the server
            server.until(lambda: len(server.server._servers[0]._beginning) == 1)
            server.loop.call_soon_threadsafe(server.server.stop)
            server.thread.join(10)
            assert not server.thread.is_alive()
            assert read_all(silent) == b""


def test_before_tls(serving, tmp_path):
    made = Certificates(tmp_path)
    options = {"ssl_certfile": made.certificate, "ssl_keyfile": made.key}
    context = made.client()
    with serving(lifeless(seen), **options) as server:
        for header in (TCP4, v2(0x11, IN_4)):
            with server.connect() as raw:
                raw.sendall(header)
                with context.wrap_socket(raw, server_hostname="localhost") as client:
                    client.sendall(GET)
                    assert json.loads(read_response(client)[2]) == [*FROM_4, "https"]
    assert server.complaints == []


def test_as_curl_says_it(tmp_path):
    for options in ((), ("--workers", "2")):
        with Serving(tmp_path, "main:app", "--proxy-protocol", *options) as server:
            url = f"http://127.0.0.1:{server.port}/seen"
            assert curl(tmp_path, "--haproxy-protocol", url) == "('http', '127.0.0.1')"
            server.wait_for(r'^127\.0\.0\.1:\d+ - "GET /seen HTTP/1.1" 200$')
        assert server.errors == []


@pytest.mark.any_kernel
def test_options_that_cannot_be():
    with pytest.raises(ConfigurationError, match="proxy_protocol: forwarded_allow_ips names nobody"):
        Proxies.of(Configuration(proxy_protocol=True, forwarded_allow_ips=""))


@pytest.mark.any_kernel
def test_random_bytes():
    """They are a header, or Malformed."""

    @given(strategies.binary(max_size=100), strategies.sampled_from([0x20, 0x21]), strategies.integers(0, 255))
    def lines_and_headers(data, command, family):
        headers = ((line, b"PROXY " + data + b"\r\n"), (binary, v2(family, data, command=command)))
        for parse, header in headers:
            with contextlib.suppress(Malformed):
                parse(header)

    lines_and_headers()
