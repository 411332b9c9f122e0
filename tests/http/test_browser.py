"""`ioring serve` as a browser sees it: Chromium loads pages, follows links, reloads, and keeps connections open."""

import os
import struct
import wave
import zlib

import pytest

from browser import PROGRAMS, Browser
from needed import needs_program
from serving import Serving
from tls_peer import Certificates

pytestmark = [
    needs_program(*PROGRAMS),
    pytest.mark.no_sanitizer,  # a browser's time-outs are its own
    pytest.mark.any_kernel,
    pytest.mark.any_python,
    pytest.mark.timeout(180),
]

AGO = 1_000_000_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser):
    page = browser.page()
    yield page
    page.close()


@pytest.fixture(params=["ring", "asyncio"])
def start(request):
    """Starts a server on one of the loops; that of asyncio is used when there is no ring."""

    def start(folder, *arguments, **options):
        if request.param == "asyncio":
            arguments = (*arguments, "--fallback", "asyncio")
        return Serving(folder, *arguments, ring=request.param == "ring", **options)

    return start


def text(name):
    return f"document.getElementById('{name}').textContent"


def test_start_page(tmp_path, start, page):
    with start(tmp_path) as server:
        page.open(f"{server.url}/")
        assert page.evaluate("document.title") == "ioring serve"
        page.until(f"{text('state')}.startsWith('up ')")
        before = page.evaluate(text("requests"))
        page.until(f"{text('requests')} !== {before!r} && /\\d/.test({text('rate')})")
        page.until("document.getElementById('curve').getAttribute('d')")
        assert page.evaluate("document.querySelectorAll('#rows tr').length") == 1
        assert page.evaluate(text("workers")) == "1 worker"
        assert not page.evaluate("document.body.classList.contains('lost')")
        for width in (320, 390, 1100):
            page.resize(width, 800)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.troubles() == []
    page.until(f"document.body.classList.contains('lost') && {text('state')} === 'no answer'")


def test_listing(tmp_path, start, page):
    public = tmp_path / "public"
    names = [
        "plain.txt",
        "a b.txt",
        "grün.txt",
        "<b>bold&amp;.txt",
        "a:b.txt",
        "100%.txt",
        "q?#.txt",
        "x" * 200 + ".txt",
    ]
    (public / "sub").mkdir(parents=True)
    for name in names:
        (public / name).write_text(f"content of {name}")
    (public / "sub" / "inner.txt").write_text("inner")
    with start(tmp_path, "public", "--listing") as server:
        page.open(f"{server.url}/")
        links = "[...document.querySelectorAll('a')]"
        assert page.evaluate(f"{links}.map(each => each.textContent)") == ["sub/", *sorted(names)]
        for name in names:
            page.leave_by(f"{links}.find(each => each.textContent === {name!r}).click()")
            assert page.evaluate("document.body.textContent") == f"content of {name}"
            page.leave_by("history.back()")
        page.leave_by(f"{links}[0].click()")
        assert page.evaluate("document.title") == "Index of /sub/"
        page.leave_by(f"{links}[0].click()")
        assert page.evaluate("location.pathname") == "/"
        for width in (320, 390, 1100):
            page.resize(width, 800)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.troubles() == []


def image(red):
    """A PNG of one colour, two pixels wide."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"\0" + bytes([red, 0, 0]) * 2
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


COUNTS = {"css": 70, "js": 70, "png": 60}


def make_page(public):
    """A page that needs two hundred files, each of which leaves its mark."""
    public.mkdir()
    lines = ["<!doctype html><meta charset=utf-8><title>many</title><link rel=icon href='data:,'><body>"]
    for number in range(COUNTS["css"]):
        (public / f"{number}.css").write_text(f"#c{number} {{ width: {100 + number}px }} /* {'-' * 50 * number} */\n")
        lines.append(f"<link rel=stylesheet href={number}.css><div id=c{number}></div>")
    for number in range(COUNTS["js"]):
        # Some are larger than what is kept in memory.
        (public / f"{number}.js").write_text(f"(window.seen ??= []).push({number}); // {'-' * 2000 * number}\n")
        lines.append(f"<script src={number}.js></script>")
    for number in range(COUNTS["png"]):
        (public / f"{number}.png").write_bytes(image(number))
        lines.append(f"<img src={number}.png>")
    (public / "index.html").write_text("\n".join(lines))
    for path in public.iterdir():
        os.utime(path, (AGO, AGO))


def check_page(page):
    assert page.evaluate("seen") == list(range(COUNTS["js"]))
    widths = page.evaluate("[...document.querySelectorAll('div')].map(each => each.getBoundingClientRect().width)")
    assert widths == [100 + number for number in range(COUNTS["css"])]
    sizes = page.evaluate("[...document.images].map(each => each.naturalWidth)")
    assert sizes == [2] * COUNTS["png"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_many_files(tmp_path, start, page, tls):
    make_page(tmp_path / "public")
    options = []
    if tls:
        Certificates(tmp_path)
        options = ["--ssl-certfile", "certificate.pem", "--ssl-keyfile", "key.pem"]
    with start(tmp_path, "public", *options) as server:
        page.open(f"{server.url}/")
        check_page(page)
        found = page.responses()
        assert len({url for url, _, _ in found}) == 1 + sum(COUNTS.values()), len(found)
        assert {(status, kept) for _, status, kept in found if not _.startswith("data:")} == {(200, False)}
        connections = {event["response"]["connectionId"] for event in page.events("Network.responseReceived")}
        assert len(connections) <= 8  # six at once is what a browser takes; they are used again
        assert page.troubles() == []
        page.close()


@pytest.mark.parametrize("age", ["0", "3600"])
def test_reload(tmp_path, start, page, age):
    make_page(tmp_path / "public")
    with start(tmp_path, "public", "--cache-max-age", age) as server:
        page.open(f"{server.url}/")
        count = len(page.responses())
        assert count == 1 + sum(COUNTS.values())
        page.loaded_by(lambda: page.ask("Page.reload"))
        check_page(page)
        again = page.responses()[count:]
        assert len(again) == count
        asked = [(url, status) for url, status, kept in again if not kept]
        if age == "0":
            assert len(asked) > sum(COUNTS.values()) - COUNTS["png"]  # images may be kept as they are, decoded
        assert {status for _, status in asked} == {304}
        if age == "3600":
            assert [url for url, _ in asked] == [f"{server.url}/"]
        # One that has changed is the only one that is sent.
        (tmp_path / "public" / "3.css").write_text("#c3 { width: 7px }")
        page.until("fetch('3.css', {cache: 'reload'}).then(got => got.text()).then(text => text.includes(' 7px'))")
        page.loaded_by(lambda: page.ask("Page.reload"))
        assert page.evaluate("document.getElementById('c3').getBoundingClientRect().width") == 7
        assert page.troubles() == []


APPLICATION = """
import asyncio, hashlib, json

HTML = b"<!doctype html><meta charset=utf-8><title>page</title><link rel=icon href='data:,'>"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        print("left with", message["code"], flush=True)
        return
    headers = dict(scope["headers"])
    answer, kind = HTML, b"text/html"
    if scope["path"] == "/events":
        kind = b"text/event-stream"
        first = int(headers.get(b"last-event-id", b"-1")) + 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for number in range(first, first + 3):
            data = b"retry: 10\\nid: %d\\ndata: event %d\\n\\n" % (number, number)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.sleep(0)
        return await send({"type": "http.response.body"})
    if scope["path"] == "/hash":
        digest, more = hashlib.sha256(), True
        while more:
            message = await receive()
            digest.update(message["body"])
            more = message["more_body"]
        answer = digest.hexdigest().encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": answer})
"""

WEBSOCKET = """new Promise((fulfil, reject) => {
    const got = [], socket = new WebSocket(location.origin.replace("http", "ws"), ["echo"]);
    const large = new Uint8Array(1 << 20).map((_, at) => at * 7);
    socket.binaryType = "arraybuffer";
    socket.onerror = () => reject(new Error("WebSocket"));
    socket.onopen = () => { socket.send("grün"); socket.send("x".repeat(100000)); socket.send(large); };
    socket.onmessage = ({data}) => {
        got.push(typeof data === "string" ? data.length : new Uint8Array(data).every((each, at) => each === large[at]));
        if (got.length === 3) socket.close(3001, "enough");
    };
    socket.onclose = ({code, wasClean}) => fulfil([got, socket.protocol, socket.extensions, code, wasClean]);
})"""

EVENTS = """new Promise((fulfil, reject) => {
    const got = [], source = new EventSource("/events");
    source.onmessage = ({data}) => {
        got.push(data);
        if (got.length === 7) { source.close(); fulfil(got); }
    };
})"""

UPLOAD = """(async () => {
    const data = new Uint8Array(5 << 20);
    for (let at = 0; at < data.length; at += 65536) crypto.getRandomValues(data.subarray(at, at + 65536));
    const answer = await fetch("/hash", {method: "POST", body: data});
    const known = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    return await answer.text() === [...known].map(each => each.toString(16).padStart(2, "0")).join("");
})()"""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_application(tmp_path, start, page, tls):
    """A WebSocket, events from the server over several connections, and an upload."""
    options = []
    if tls:
        Certificates(tmp_path)
        options = ["--ssl-certfile", "certificate.pem", "--ssl-keyfile", "key.pem"]
    with start(tmp_path, "main:app", *options, application=APPLICATION) as server:
        page.open(f"{server.url}/")
        got, protocol, extensions, code, clean = page.evaluate(WEBSOCKET)
        assert (got, protocol, code, clean) == ([4, 100_000, True], "echo", 3001, True)
        assert extensions.startswith("permessage-deflate")
        server.wait_for("left with 3001")
        assert page.evaluate(EVENTS) == [f"event {number}" for number in range(7)]
        assert page.evaluate(UPLOAD) is True
        # It is left in the middle, as readers do.
        assert page.evaluate("fetch('/', {signal: AbortSignal.abort()}).catch(error => error.name)") == "AbortError"
        assert [each for each in page.troubles() if not each.get("canceled")] == []
        page.close()
    assert "Traceback" not in "".join(server.errors)


def test_sound(tmp_path, start, page):
    """A player asks for ranges, and leaves those that it does not need in the middle."""
    (tmp_path / "public").mkdir()
    with wave.open(str(tmp_path / "public" / "sound.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(44100 * 4) * 240)
    (tmp_path / "public" / "index.html").write_text(
        "<!doctype html><title>sound</title><link rel=icon href='data:,'><audio preload=metadata src=sound.wav></audio>"
    )
    with start(tmp_path, "public") as server:
        page.open(f"{server.url}/")
        player = "document.querySelector('audio')"
        assert page.until(f"{player}.duration") == 240
        for place in (200, 30, 239):
            page.evaluate(f"{player}.currentTime = {place}")
            assert page.until(f"!{player}.seeking && {player}.readyState >= 2 && {player}.currentTime") == place
        answers = [(url, status) for url, status, _ in page.responses() if url.endswith(".wav")]
        assert len(answers) > 1
        statuses = [status for _, status in answers]
        assert set(statuses) <= {206, 304}  # what it has already it only asks about
        assert statuses.count(206) > 1
        assert [each for each in page.troubles() if not each.get("canceled")] == []
    assert server.errors == [] or not any("Traceback" in line for line in server.errors)
