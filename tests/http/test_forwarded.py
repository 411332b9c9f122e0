"""What headers of trusted proxies change in a request: X-Forwarded-... and Forwarded."""

import json

import pytest

from http_servers import body_of, lifeless
from ioring.http import ConfigurationError
from ioring.http.forwarded import COUNTED, ELEMENT_MAX, HOPS_MAX, Proxies

ALL = "x-forwarded-for,x-forwarded-proto,x-forwarded-host,x-forwarded-port"


async def asgi(scope, receive, send):
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    said = json.dumps([scope["client"][0], scope["scheme"], hosts, scope["server"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said})


def wsgi(environ, start_response):
    server = [environ["SERVER_NAME"], int(environ["SERVER_PORT"])]
    start_response("200 OK", [])
    return [json.dumps([environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], [environ["HTTP_HOST"]], server]).encode()]


@pytest.fixture(params=["asgi", "wsgi"])
def seen(request, serving):
    """What an application sees of a request with such headers: client, scheme, hosts, server; None: as it came."""
    application = lifeless(asgi) if request.param == "asgi" else wsgi

    def ask(headers, counted, allowed="127.0.0.1,10.0.0.0/8"):
        options = {"forwarded_headers": counted, "forwarded_allow_ips": allowed}
        with serving(application, kind=request.param, **options) as server:
            lines = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers)
            said = server.talk(b"GET / HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n%b\r\n" % lines)
            client, scheme, hosts, address = json.loads(body_of(said))
            as_it_came = (client == "127.0.0.1", scheme == "http", hosts == ["inner"], tuple(address) == server.address)
        found = (client, scheme, hosts[0] if len(hosts) == 1 else hosts, tuple(address))
        return tuple(None if same else value for value, same in zip(found, as_it_came, strict=True))

    return ask


XF = [
    ("X-Forwarded-For", "192.0.2.1, 10.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "spoofed, outer.example"),
    ("X-Forwarded-Port", "8443"),
]
FORWARDED = ("Forwarded", 'for=192.0.2.9;proto=https;host="outer.example:444";by=10.0.0.3, for=10.0.0.2;proto=http')


@pytest.mark.parametrize(
    ("headers", "counted", "wanted"),
    [
        (XF, "x-forwarded-for,x-forwarded-proto", ("192.0.2.1", "https", None, None)),
        (XF, ALL, ("192.0.2.1", "https", "outer.example", ("outer.example", 8443))),
        (XF, "X-Forwarded-Host", (None, None, "outer.example", ("outer.example", 80))),
        (XF, "x-forwarded-host, x-forwarded-proto", (None, "https", "outer.example", ("outer.example", 443))),
        (XF, "x-forwarded-port", (None, None, None, ("127.0.0.1", 8443))),
        (XF, "", (None, None, None, None)),
        (XF, "forwarded", (None, None, None, None)),
        ([FORWARDED, *XF], ALL, ("192.0.2.1", "https", "outer.example", ("outer.example", 8443))),
        ([FORWARDED, *XF], f"forwarded,{ALL}", ("192.0.2.9", "https", "outer.example:444", ("outer.example", 444))),
        (XF, f"forwarded,{ALL}", ("192.0.2.1", "https", "outer.example", ("outer.example", 8443))),
        ([("X-Forwarded-Host", "[2001:db8::1]:81")], ALL, (None, None, "[2001:db8::1]:81", ("2001:db8::1", 81))),
        ([("X-Forwarded-Host", "a b")], ALL, (None, None, None, None)),
        ([("X-Forwarded-Host", "a:65536")], ALL, (None, None, None, None)),
        ([("X-Forwarded-Host", "a/b")], ALL, (None, None, None, None)),
        ([("X-Forwarded-Port", "0")], ALL, (None, None, None, None)),
        ([("X-Forwarded-Port", "65536")], ALL, (None, None, None, None)),
        ([("X-Forwarded-Port", "http")], ALL, (None, None, None, None)),
    ],
)
def test_what_counts(seen, headers, counted, wanted):
    assert seen(headers, counted) == wanted


@pytest.mark.parametrize("headers", [XF, [FORWARDED]])
def test_who_is_not_trusted_says_nothing(seen, headers):
    assert seen(headers, f"forwarded,{ALL}", "10.0.0.0/8") == (None, None, None, None)


@pytest.mark.any_kernel
@pytest.mark.parametrize(
    ("values", "client", "scheme"),
    [
        (["for=192.0.2.1"], "192.0.2.1", "http"),
        (["For=192.0.2.1 ; PROTO=HTTPS"], "192.0.2.1", "https"),
        (['for="192.0.2.1:80"'], "192.0.2.1", "http"),
        (['for="[2001:db8::1]:80";proto=https'], "2001:db8::1", "https"),
        (['for="[2001:db8::1]"'], "2001:db8::1", "http"),
        (["for=192.0.2.1, for=192.0.2.2"], "192.0.2.2", "http"),
        (["for=192.0.2.1;proto=https, for=10.0.0.1"], "192.0.2.1", "https"),
        (["for=192.0.2.1;proto=https", "for=10.0.0.1"], "192.0.2.1", "https"),
        # Who it was is not said, but what was asked.
        (["for=192.0.2.1, for=unknown;proto=https"], "127.0.0.1", "https"),
        (["for=192.0.2.1, for=_hidden, for=10.0.0.1"], "10.0.0.1", "http"),
        (["proto=https"], "127.0.0.1", "https"),
        # What is none is not believed, nor what is left of it.
        (["for=192.0.2.1, nonsense, for=10.0.0.1"], "10.0.0.1", "http"),
        (['for="192.0.2.1, for=10.0.0.1'], "10.0.0.1", "http"),
        (["for=192.0.2.1;for=192.0.2.2"], "127.0.0.1", "http"),
        (["for=192.0.2.1;proto=gopher"], "192.0.2.1", "http"),
        (["for=192.0.2.1;x=" + "y" * ELEMENT_MAX], "127.0.0.1", "http"),
        ([""], "127.0.0.1", "http"),
    ],
)
def test_elements_of_forwarded(values, client, scheme):
    proxies = Proxies("127.0.0.1,10.0.0.0/8", "forwarded")
    headers = [(b"forwarded", value.encode()) for value in values]
    scope = {"type": "http", "scheme": "http", "client": ("127.0.0.1", 5), "server": ("a", 80), "headers": headers}
    assert proxies.client_of(headers, ("127.0.0.1", 5))[0] == client  # what is logged
    proxies.apply(scope)
    assert (scope["client"][0], scope["scheme"]) == (client, scheme)


@pytest.mark.any_kernel
def test_long_chains_are_looked_at_for_a_part():
    proxies = Proxies("10.0.0.0/8", "forwarded")
    looked = []
    proxies.has = lambda host: looked.append(host) or True
    proxies.client_of([(b"forwarded", b",".join([b"for=10.0.0.1"] * 5000))], ("10.0.0.2", 5))
    assert len(looked) == HOPS_MAX


@pytest.mark.any_kernel
def test_headers_that_are_not_known():
    with pytest.raises(ConfigurationError, match="forwarded_headers: 'x-real-ip' is none of"):
        Proxies("", "x-forwarded-for,x-real-ip")
    assert Proxies("*", " X-Forwarded-For , Forwarded ").counted <= set(COUNTED)
