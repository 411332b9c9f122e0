"""Which host and which target a request has, and that it is HTTP at all."""

import re

import pytest

from http_servers import body_of, lifeless, read_all


async def tells(scope, receive, send):
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    said = repr((scope["path"], scope["raw_path"], scope["query_string"], hosts, scope["http_version"]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})


def request(target=b"/", host=b"Host: a\r\n", method=b"GET", protocol=b"HTTP/1.1", close=b"Connection: close\r\n"):
    return b"%b %b %b\r\n%b%b\r\n" % (method, target, protocol, host, close)


def asked(server, *arguments, **more):
    said = server.talk(request(*arguments, **more))
    return eval(body_of(said)) if said.startswith(b"HTTP/1.1 200") else int(said.split()[1])


@pytest.mark.parametrize(
    "host",
    [
        *(b"a", b"", b"a:", b"a:80", b"a.example:65535", b"A_b-c.d", b"10.0.0.1:8000", b"[::1]", b"[::1]:443"),
        *(b"xn--bcher-kva.example", b"a%20b", b"a!$&'()*+,;=~", b"[v1.a:b]", b"[::ffff:10.0.0.1]"),
    ],
)
def test_hosts(serving, host):
    with serving(lifeless(tells)) as server:
        assert asked(server, host=b"Host: %b\r\n" % host)[3] == [host]
    assert server.complaints == []


@pytest.mark.parametrize(
    "host",
    [
        *(b"a/b", b"a?c", b"a#d", b"a b", b"u@a", b"a, b", b"a:bad", b"a:8x", b"a:65536", b"a:-1", b"::1", b"[::1"),
        *(
            b"[::1]x",
            b"[a]",
            b"[]",
            b"[v.]",
            b"[fe80::1%eth0]",
            b"a]",
            b"a\\b",
            b"\xff",
            b'"><script>',
            b"a%2",
            b"a%zz",
        ),
        *(b"a%zz", b"a\tb", b"http://a", b"a^", b"a|b", b"a`", b"{a}", b"[" + b"1" * 100 + b"]", b"a:" + b"9" * 30),
    ],
)
def test_what_is_no_host(serving, host):
    with serving(lifeless(tells)) as server:
        assert asked(server, host=b"Host: %b\r\n" % host) == 400
        assert asked(server, host=b"Host: %b\r\n" % host, protocol=b"HTTP/1.0") == 400
    assert len(server.complaints) == 2


@pytest.mark.parametrize(
    "target, found",
    [
        (b"http://b/x", ("/x", b"/x", b"", [b"b"])),
        (b"http://b:81/x?y=/z", ("/x", b"/x", b"y=/z", [b"b:81"])),
        (b"http://b", ("/", b"/", b"", [b"b"])),
        (b"http://b?x=/static/", ("/", b"/", b"x=/static/", [b"b"])),
        (b"HTTPS://[::1]:8/a//b", ("/a//b", b"/a//b", b"", [b"[::1]:8"])),
        (b"/a#b", ("/a", b"/a", b"", [b"a"])),
        (b"/a?b#c?d", ("/a", b"/a", b"b", [b"a"])),
        (b"/http://b/x", ("/http://b/x", b"/http://b/x", b"", [b"a"])),
    ],
)
def test_targets(serving, target, found):
    """The host of a target counts, and not that of the header; a fragment is none of it."""
    with serving(lifeless(tells)) as server:
        assert asked(server, target) == (*found, "1.1")
        assert asked(server, target, protocol=b"HTTP/1.0") == (*found, "1.0")
        if b"://" in target and not target.startswith(b"/"):
            assert asked(server, target, protocol=b"HTTP/1.0", host=b"") == (*found, "1.0")
            assert asked(server, target, host=b"") == 400


@pytest.mark.parametrize(
    "target", [b"http://u@b/", b"http:///x", b"http://b:x/", b"http://?x", b"http://[::1/", b"http:/x"]
)
def test_what_is_no_target(serving, target):
    with serving(lifeless(tells)) as server:
        assert asked(server, target) == 400
    assert len(server.complaints) == 1


def test_mounts_look_at_the_path(serving, tmp_path):
    (tmp_path / "file").write_text("of the mount")
    with serving(lifeless(tells), mount=[f"/static={tmp_path}"]) as server:
        assert body_of(server.talk(request(b"http://b/static/file?x"))) == b"of the mount"
        assert asked(server, b"http://b?x=/static/file")[0] == "/"
        assert asked(server, b"http://b/?x=/static/file")[0] == "/"


@pytest.mark.parametrize("pieces", [1, 70, 1000])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"pipelined", b"the same"])
@pytest.mark.parametrize(
    "method, protocol, status",
    [
        (b"GET", b"RTSP/1.1", 400),
        (b"POST", b"RTSP/1.0", 400),
        (b"DESCRIBE", b"RTSP/1.0", 400),
        (b"SOURCE", b"ICE/1.1", 400),
        (b"GET", b" RTSP/1.1", 400),
        (b"GET", b"HTTP/1.1", 200),
        (b"GET", b"HTTP/1.0", 200),
        (b"GET", b"HTTP/2.0", 505),
    ],
)
def test_other_protocols(serving, method, protocol, status, before, pieces):
    """The parser takes them."""
    if before == b"pipelined":
        before = request(close=b"") + request(b"/b", method=b"POST", close=b"Content-Length: 3\r\n") + b"abc"
    elif before == b"the same":
        before = request(method=method, protocol=b"HTTP/1.1", close=b"") if method in (b"GET", b"POST") else b""
    data = before + request(method=method, protocol=protocol)
    with serving(lifeless(tells)) as server, server.connect() as client:
        for start in range(0, len(data), pieces):
            client.sendall(data[start : start + pieces])
        said = read_all(client)
    assert int(re.findall(rb"HTTP/1.1 ([0-9]+) ", said)[-1]) == status
    if status == 200:
        assert eval(said[said.rindex(b"(") :])[4].encode() == protocol[5:]
