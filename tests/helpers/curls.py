"""curl, servers for it, and what they serve."""

import gzip
import hashlib
import json
import os
import re
import struct
import subprocess

from serving import WAIT_S, Serving, without_preloaded

CURL_S = 20
"""For so long curl may take."""

AGO = 1_000_000_000
THEN, EARLIER = "Sun, 09 Sep 2001 01:46:40 GMT", "Sat, 08 Sep 2001 01:46:40 GMT"
MIB = 1 << 20
BLOCK = hashlib.sha256(b"block").digest() * (MIB // 32)
LARGE_COUNT = 100  # MiB
LARGE_HASH = hashlib.sha256(BLOCK * LARGE_COUNT).hexdigest()

ASGI = """
import asyncio, hashlib, json, os

BLOCK = hashlib.sha256(b"block").digest() * (2**20 // 32)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close", "code": 1000})
        return
    path = scope["path"]

    async def start(status=200, *headers):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(data=b"", more=False):
        await send({"type": "http.response.body", "body": data, "more_body": more})

    async def until(name):
        while not os.path.exists(name):
            await asyncio.sleep(0.01)

    if path == "/echo":
        await start()
        while (message := await receive()).get("more_body"):
            await body(message["body"], True)
        await body(message["body"])
    elif path == "/hash":
        digest, size, more = hashlib.sha256(), 0, True
        while more:
            message = await receive()
            digest.update(message["body"])
            if not size:
                print(path, "begins", flush=True)
            size += len(message["body"])
            more = message["more_body"]
        names = {b"content-length", b"transfer-encoding", b"expect"}
        headers = {name.decode(): value.decode() for name, value in scope["headers"] if name in names}
        await start()
        await body(json.dumps([scope["method"], digest.hexdigest(), size, headers]).encode())
    elif path == "/large":
        await start()
        for _ in range(100):
            await body(BLOCK, True)
        await body()
    elif path == "/hints":
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload; as=style"]})
        await start(200, (b"content-length", b"5"))
        await body(b"ready")
    elif path == "/events":
        await start(200, (b"content-type", b"text/event-stream"))
        for number in range(3):
            await until(f"event{number}")
            await body(b"data: %d\\n\\n" % number, True)
        await body()
    elif path == "/wait":
        await start()
        await body(b"begun ", True)
        await until("go")
        await body(b"done")
    else:
        await start(200, (b"content-type", b"text/plain"))
        await body(f"{scope['method']} {path} {scope['http_version']} {scope['scheme']}".encode())
"""

WSGI = """
import hashlib, json

BLOCK = hashlib.sha256(b"block").digest() * (2**20 // 32)

def app(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/echo":
        start_response("200 OK", [])
        return iter(lambda: environ["wsgi.input"].read(65536), b"")
    if path == "/hash":
        digest, size = hashlib.sha256(), 0
        while data := environ["wsgi.input"].read(65536):
            digest.update(data)
            size += len(data)
        names = {"content-length": "CONTENT_LENGTH", "transfer-encoding": "HTTP_TRANSFER_ENCODING"}
        names["expect"] = "HTTP_EXPECT"
        headers = {name: environ[key] for name, key in names.items() if environ.get(key)}
        start_response("200 OK", [])
        return [json.dumps([method, digest.hexdigest(), size, headers]).encode()]
    if path == "/large":
        start_response("200 OK", [])
        return (BLOCK for _ in range(100))
    start_response("200 OK", [("content-type", "text/plain")])
    version = environ["SERVER_PROTOCOL"].removeprefix("HTTP/")
    return [f"{method} {path} {version} {environ['wsgi.url_scheme']}".encode()]
"""

SOURCES = {"asgi": ASGI, "wsgi": WSGI}


def zstd(data):
    """A frame of one block that is not compressed, so that no other program is needed."""
    return struct.pack("<IBBI", 0xFD2FB528, 0x20, len(data), len(data) << 3 | 1)[:-1] + data


def brotli(data):
    """The same: a piece that is not compressed, and the end."""
    return struct.pack("<I", len(data) - 1 << 4 | 1 << 20)[:3] + data + b"\x03"


COMPRESSED = {"gzip": gzip.compress, "br": brotli, "zstd": zstd}
ENDINGS = {"gzip": ".gz", "br": ".br", "zstd": ".zst"}


def start(folder, *arguments, loop="ring", source="asgi", **options):
    """A server on one of the loops."""
    if loop == "asyncio":
        arguments = (*arguments, "--fallback", "asyncio")
    return Serving(folder, *arguments, ring=loop == "ring", application=SOURCES[source], **options)


def make_site(public):
    (public / "sub").mkdir(parents=True)
    (public / "index.html").write_text("<p>index</p>")
    (public / "sub" / "a b.txt").write_text("inner")
    (public / "bytes.bin").write_bytes(bytes(range(256)) * 40)
    (public / "middle.bin").write_bytes(BLOCK)
    make_large(public)
    for each in COMPRESSED:
        for kind in (each, "all"):
            text = f"body {{ content: '{kind}' }}\n".encode()
            (public / f"{kind}.css").write_bytes(text)
            (public / f"{kind}.css{ENDINGS[each]}").write_bytes(COMPRESSED[each](text))
    (public.parent / "secret").write_text("secret")
    for path in public.rglob("*"):
        os.utime(path, (AGO, AGO))


def make_large(public):
    public.mkdir(exist_ok=True)
    with open(public / "large.bin", "wb") as file:
        for _ in range(LARGE_COUNT):
            file.write(BLOCK)


class Answer:
    """What curl got for one URL.

    Parameters:
        said: what curl tells of it, by its own names.
        heads: pairs of a status and headers, those of interim responses too.
    """

    def __init__(self, said, heads, body):
        self.said = said
        self.heads = heads
        self.status, self.headers = heads[-1] if heads else (0, {})
        self.body = body


def version():
    """What curl says of itself."""
    return subprocess.run(
        ["curl", "-V"], env=without_preloaded(), capture_output=True, text=True, timeout=WAIT_S, check=True
    ).stdout


def command(*arguments):
    return ["curl", "-sS", "--max-time", f"{CURL_S}", *map(str, arguments)]


def curl(server, path, *arguments, code=0, stdin=None):
    """Asks for a path of a server, or for a URL."""
    folder = server.folder
    url = path if "://" in path else server.url + path
    for name in ("head", "body"):
        (folder / name).unlink(missing_ok=True)
    done = subprocess.run(
        command("-D", "head", "-o", "body", "-w", "%{json}", *arguments, url),
        cwd=folder,
        env=without_preloaded(),
        input=stdin,
        capture_output=True,
        timeout=3 * WAIT_S,
        check=False,
    )
    assert code is None or done.returncode == code, (done.returncode, done.stderr)
    heads = []
    for head in (folder / "head").read_bytes().decode("latin-1").split("\r\n\r\n")[:-1]:
        first, *lines = head.split("\r\n")
        headers = [line.split(": ", 1) for line in lines]
        heads.append((int(first.split()[1]), {name.lower(): value for name, value in headers}))
    body = (folder / "body").read_bytes() if (folder / "body").exists() else b""
    return Answer(json.loads(done.stdout), heads, body)


class Running:
    """A curl that is at work; its output is to be read."""

    def __init__(self, server, path, *arguments, **options):
        self.process = subprocess.Popen(
            command("-N", *arguments, server.url + path),
            cwd=server.folder,
            env=without_preloaded(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **options,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file is not None:
                file.close()
        self.process.wait(WAIT_S)

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.process.stdout.read(count - len(data))
            assert part, (data, self.process.stderr.read())
            data += part
        return data

    def rest(self, code=0):
        output, errors = self.process.communicate(timeout=2 * WAIT_S)
        assert self.process.returncode == code, (self.process.returncode, errors)
        return output

    def hashed(self):
        """The hash of all there is, and its size."""
        digest, size = hashlib.sha256(), 0
        while part := self.process.stdout.read(MIB):
            digest.update(part)
            size += len(part)
        self.rest()
        return digest.hexdigest(), size


def printed(server, *arguments, check=True):
    """What curl prints of itself, in the server's folder; unless told otherwise it has to succeed."""
    return subprocess.run(
        command(*arguments),
        cwd=server.folder,
        env=without_preloaded(),
        capture_output=True,
        text=True,
        timeout=2 * WAIT_S,
        check=check,
    ).stdout


def several(server, *arguments):
    """Numbers of new connections, and what was said."""
    said = printed(server, "-w", "\n%{num_connects} ", *arguments)
    *bodies, last = re.split(r"\n(\d+) ", said)
    assert last == ""
    return [int(each) for each in bodies[1::2]], bodies[::2]
