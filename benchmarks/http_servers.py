"""Workloads of HTTP: `ioring serve` and other servers, each started by its own command, with the same applications.

The servers choose neither their loop nor their parser by themselves: uvicorn has uvloop and httptools, its fastest.
None of them writes an access log.
"""

import json

from .data import Contents, Written
from .workloads import ServerWorkload, Side, Target

APPS = "benchmarks.servers.http_apps"
COLUMNS = ("messages_per_second", "cpu_us", "server_busy", "load_busy", "p50_us", "p99_us")
KEEP_ALIVE_S = "600"  # silent connections must outlive a round

# --- requests and the answers to them --------------------------------------------------------------------------------

HELLO = b"Hello, World!"
BROWSER = (  # ten headers with host and the body's
    "accept: application/json, text/plain, */*",
    "accept-encoding: gzip, deflate, br",
    "accept-language: en-US,en;q=0.9,de;q=0.8",
    "authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "origin: http://localhost",
    "referer: http://localhost/items",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
)


def request(method="GET", path="/", headers=(), body=b""):
    if body:
        headers = (*headers, "content-type: application/json", f"content-length: {len(body)}")
    lines = (f"{method} {path} HTTP/1.1", "host: localhost", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


def document(size):
    """JSON of about so many bytes, written as the application writes it."""
    items = []
    while len(text := json.dumps({"items": items}, separators=(",", ":"))) < size - 60:
        number = len(items)
        items.append({"id": number, "name": f"item {number}", "price": number * 1.25, "tags": ["a", "b"]})
    return text.encode()


def exchange(request, answer):
    return Contents((Written("request", request), Written("answer", answer)))


HELLO_EXCHANGE = exchange(request(), HELLO)
DOCUMENT = document(1024)

# --- servers ---------------------------------------------------------------------------------------------------------


def ioring(target=f"{APPS}:hello", *options, name="ioring", label="ioring serve"):
    return Side(
        name,
        label,
        ("{python}", "-m", "ioring", "serve", target, "--port", "{port}", *options),
        # A variable of what an older build does not know is nothing to it, where an option would be an error.
        environment=(("IORING_ACCESS_LOG", "no"),),
        needs=("ioring.http:serve", "click", "httptools"),
    )


def uvicorn(app="hello", *options, name="uvicorn", label="uvicorn, uvloop", needs=(), environment=()):
    fastest = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    command = ("{python}", "-m", "uvicorn", f"{APPS}:{app}", "--port", "{port}", *fastest, *options)
    return Side(name, label, command, environment, needs=("uvicorn", "uvloop", "httptools", *needs))


def granian(app="hello", interface="asgi"):
    command = ("{python}", "-m", "granian", f"{APPS}:{app}", "--interface", interface, "--port", "{port}")
    loop = ("--loop", "uvloop") if interface == "asgi" else ()
    options = ("--workers", "1", "--no-access-log", "--log-level", "warning", *loop)
    return Side("granian", f"granian, {interface.upper()}", (*command, *options), needs=("granian", "uvloop"))


def hypercorn(app="hello"):
    command = ("{python}", "-m", "hypercorn", f"{APPS}:{app}", "--bind", "127.0.0.1:{port}")
    options = ("--workers", "1", "--worker-class", "uvloop", "--log-level", "warning")
    return Side("hypercorn", "hypercorn, uvloop", (*command, *options), needs=("hypercorn", "uvloop"))


def fastpysgi(app="hello"):
    command = ("{scripts}/fastpysgi", f"{APPS}:{app}", "--host", "127.0.0.1", "--port", "{port}")
    return Side("fastpysgi", "fastpysgi", command, environment=(("PYTHONPATH", "."),), needs=("fastpysgi",))


def nginx():
    command = ("{python}", "{benchmarks}/servers/nginx.py", "{port}", "{data}/www", "{data}/nginx")
    return Side("nginx", "nginx, sendfile", command, programs=("nginx",))


def static_files():
    return uvicorn(
        "static",
        name="starlette",
        label="Starlette's StaticFiles, uvicorn",
        needs=("starlette",),
        environment=(("FOLDER", "{data}/www"),),
    )


# --- workloads -------------------------------------------------------------------------------------------------------


def at_least(ratio, *against, metric="messages_per_second", side="ioring"):
    return Target(metric, side, against, at_least=ratio)


def at_most(ratio, metric, *against):
    return Target(metric, "ioring", against, at_most=ratio)


def http(name, title, explanation, sides, targets, contents=HELLO_EXCHANGE, load=(), connections=50, **others):
    mode = () if "--mode" in load else ("--mode", "http")
    files = ("--request", "{data}/request", "--expect", "{data}/answer")
    return ServerWorkload(
        name=f"http-{name}",
        title=title,
        explanation=f"{explanation} Applications: `benchmarks/servers/http_apps.py`.",
        sides=sides,
        columns=others.pop("columns", COLUMNS),
        targets=targets,
        files=contents,
        load=(*mode, "--connections", str(connections), *(load if "--expect" in load else (*files, *load))),
        **others,
    )


def folder(name, title, explanation, content, times, targets, *, compare_every=1, sides=(), **others):
    """The content of the file is so many times the same."""
    load = ("--request", "{data}/request", "--expect", "{data}/www/file", "--compare-every", str(compare_every))
    return http(
        f"file-{name}",
        title,
        f"`ioring serve FOLDER`, a file that the page cache has. {explanation}",
        (ioring("{data}/www"), nginx(), *sides),
        targets,
        Contents((Written("request", request(path="/file")), Written("www/file", content, times))),
        load,
        **others,
    )


BLOCK = b"".join(bytes([first ^ second for second in range(256)]) for first in range(64))  # 16 KiB

HTTP_WORKLOADS = (
    http(
        "hello",
        "HTTP: thirteen bytes, ASGI",
        "50 connections, each asking again when it is answered.",
        (ioring(), uvicorn(), granian(), hypercorn(), fastpysgi()),
        (at_least(1.7, "uvicorn"), at_least(1.7, "granian"), at_least(1.2, "fastpysgi")),
    ),
    http(
        "json",
        "HTTP: 1 KiB of JSON there and back, ASGI",
        "A POST with ten headers; the application reads the JSON and writes it again.",
        (ioring(f"{APPS}:json_echo"), uvicorn("json_echo"), granian("json_echo"), hypercorn("json_echo")),
        (at_least(1.5, "uvicorn"),),
        exchange(request("POST", "/items", BROWSER, DOCUMENT), DOCUMENT),
    ),
    http(
        "wsgi",
        "HTTP: thirteen bytes, WSGI",
        "50 connections, each asking again when it is answered.",
        (
            ioring(f"{APPS}:wsgi_hello", "--interface", "wsgi"),
            granian("wsgi_hello", "wsgi"),
            fastpysgi("wsgi_hello"),
        ),
        (at_least(1.2, "granian"),),
    ),
    http(
        "fastapi",
        "HTTP: FastAPI",
        "A function that returns a dictionary: most of the time goes to the framework.",
        (ioring(f"{APPS}:fastapi_hello"), uvicorn("fastapi_hello", needs=("fastapi",)), granian("fastapi_hello")),
        (at_least(1.1, "uvicorn"),),
        exchange(request(), b'{"message":"Hello, World!"}'),
    ),
    http(
        "connect",
        "HTTP: a connection per request, ASGI",
        "The request has `connection: close`; 50 at a time.",
        (ioring(), uvicorn(), granian()),
        (at_least(1.5, "uvicorn"),),
        exchange(request(headers=("connection: close",)), HELLO),
        ("--mode", "http-connect"),
    ),
    folder(
        "13",
        "HTTP: a file of 13 bytes",
        "50 connections.",
        HELLO,
        1,
        (at_least(0.8, "nginx"), at_least(20, "starlette")),
        sides=(static_files(),),
    ),
    folder(
        "16k",
        "HTTP: a file of 16 KiB",
        "50 connections; one answer in 16 is compared.",
        BLOCK,
        1,
        (at_least(0.8, "nginx"), at_least(20, "starlette")),
        compare_every=16,
        sides=(static_files(),),
    ),
    folder(
        "100m",
        "HTTP: a file of 100 MiB",
        "One connection; one answer in 16 is compared.",
        BLOCK,
        100 * 64,
        (at_least(0.9, "nginx", metric="mb_per_second"),),
        compare_every=16,
        connections=1,
        columns=("mb_per_second", "cpu_s_per_gib", "server_busy", "load_busy", "memory_mib"),
    ),
    http(
        "latency",
        "HTTP: latency at half of what uvicorn can do, ASGI",
        "As many requests per second for all: half of what uvicorn answers on 50 connections, measured before the first"
        " round. They are sent on schedule, and waiting in line counts. The load does not sleep.",
        (ioring(), uvicorn(), granian()),
        (at_most(1.0, "p99_us", "uvicorn"),),
        load=("--spin",),
        columns=("p99_us", "p50_us", "p99.9_us", "messages_per_second", "cpu_us", "server_busy"),
        half_of="uvicorn",
    ),
    http(
        "idle",
        "HTTP: 5,000 connections, 1 % active, ASGI",
        "Each has been answered once.",
        (
            ioring(f"{APPS}:hello", "--timeout-keep-alive", KEEP_ALIVE_S),
            uvicorn("hello", "--timeout-keep-alive", KEEP_ALIVE_S),
        ),
        (at_most(0.5, "kib_per_connection", "uvicorn"),),
        load=("--active-percent", "1"),
        connections=5000,
        columns=("kib_per_connection", "memory_mib", *COLUMNS),
    ),
    ServerWorkload(
        name="http-websocket",
        title="WebSockets: 64 bytes there and back, ASGI",
        explanation="50 connections, each with one binary message on the way; nothing is compressed. Application:"
        " `benchmarks/servers/http_apps.py`.",
        sides=(
            ioring(f"{APPS}:websocket_echo"),
            uvicorn("websocket_echo", "--ws", "websockets", label="uvicorn, uvloop, websockets", needs=("websockets",)),
            uvicorn(
                "websocket_echo",
                "--ws",
                "websockets-sansio",
                name="uvicorn-sansio",
                label="uvicorn, uvloop, websockets without I/O",
                needs=("websockets",),
            ),
            granian("websocket_echo"),
        ),
        columns=COLUMNS,
        targets=(at_least(1.2, "uvicorn", "uvicorn-sansio"),),
        load=("--mode", "websocket", "--size", "64"),
    ),
    http(
        "workers",
        "HTTP: FastAPI, two workers on two CPUs",
        "1 KiB of JSON, whose items FastAPI checks and sends back. All programs may use both CPUs, one of which they"
        " share with the load: what that uses (load busy) the workers do not get, so two of them look worse than they"
        " would with a CPU more. The less an application does for a request, the larger that part is: FastAPI's answer"
        " of thirteen bytes came to 1.69.",
        (
            ioring(f"{APPS}:fastapi_echo", "--workers", "2", label="ioring serve, 2 workers"),
            ioring(f"{APPS}:fastapi_echo", name="ioring-1", label="ioring serve, 1 worker"),
            uvicorn("fastapi_echo", "--workers", "2", label="uvicorn, 2 workers", needs=("fastapi",)),
        ),
        (at_least(1.8, "ioring-1"),),
        exchange(request("POST", body=DOCUMENT), DOCUMENT),
        both_cpus=True,
    ),
)
