"""WebSockets, on each kind of loop, with the clients of `websockets` and byte by byte."""

import asyncio
import contextlib
import os
import queue
import socket
import struct
import threading
import tracemalloc
import zlib

import pytest
from websockets.asyncio.client import connect as connect_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from http_servers import GET, QUEUES_MAX, WAIT_S, hello, one_of_two_cancelled, read_all, read_response
from ioring.http.websocket_messages import HELD_MAX
from rings import RESET
from websocket_bytes import frame, raw, receive_exactly, request

SERVING = {"lifespan": "off"}
QUEUE_MAX = 256  # ws_max_queue, which is the default


def client_of(server, path="/", **options):
    return connect(f"ws://127.0.0.1:{server.address[1]}{path}", max_size=None, **options)


seen = queue.SimpleQueue()


@pytest.fixture(autouse=True)
def forget():
    while not seen.empty():
        seen.get()


async def echo(scope, receive, send):
    """Sends back each message, and puts the last into `seen`."""
    assert scope["type"] == "websocket"
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(message | {"type": "websocket.send"})
    assert await receive() == message  # it stays so
    seen.put(message)


def last():
    message = seen.get(timeout=WAIT_S)
    assert message.pop("type") == "websocket.disconnect"
    return message["code"], message["reason"]


SIZES = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1_000_000]


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("deflate", [True, False])
def test_echo(serving, compression, deflate):
    with serving(echo, ws_deflate=deflate) as server:
        with client_of(server, compression=compression) as client:
            assert bool(client.protocol.extensions) is (deflate and compression is not None)
            for size in SIZES:
                data = os.urandom(size)
                client.send(data)
                assert client.recv(WAIT_S) == data
                text = "é" * size
                client.send(text)
                assert client.recv(WAIT_S) == text
            client.close(1000, "bye")
        assert last() == (1000, "bye")
    assert server.complaints == []
    assert not server.server.service.connections
    assert server.server.service.active == 0


def test_asyncio_clients(serving):
    async def one(number):
        async with connect_asyncio(f"ws://127.0.0.1:{server.address[1]}/") as client:
            for count in range(20):
                await client.send(f"{number} {count}")
            return [await client.recv() for _ in range(20)]

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(20)))

    with serving(echo) as server:
        answers = asyncio.run(all_of_them())
    assert answers == [[f"{number} {count}" for count in range(20)] for number in range(20)]
    assert server.complaints == []


@pytest.mark.parametrize("compression", ["deflate", None])
def test_fragments(serving, compression):
    with serving(echo) as server, client_of(server, compression=compression) as client:
        client.send(["one ", "", "two ", "thréé"])
        assert client.recv(WAIT_S) == "one two thréé"
        client.send([b"\0" * 70_000] * 3)
        assert client.recv(WAIT_S) == b"\0" * 210_000
        client.send("whole")
        assert client.recv(WAIT_S) == "whole"
    assert server.complaints == []


def test_scope(serving):
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "two", "headers": [(b"x-some", b"1")]})
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})

    with serving(application) as server, client_of(server, "/a%20b?c=d", subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "two"
        assert client.response.headers["x-some"] == "1"
        assert client.response.headers["server"] == "ioring"
        assert "date" in client.response.headers
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_S)
        assert (client.protocol.close_code, client.protocol.close_reason) == (4000, "enough")
    [scope] = scopes
    assert scope["scheme"] == "ws"
    assert scope["path"] == "/a b"
    assert scope["raw_path"] == b"/a%20b"
    assert scope["query_string"] == b"c=d"
    assert scope["http_version"] == "1.1"
    assert scope["subprotocols"] == ["one", "two"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert dict(scope["headers"])[b"upgrade"] == b"websocket"
    assert "method" not in scope
    assert server.complaints == []


def answering(*messages):
    async def application(scope, receive, send):
        await receive()
        for message in messages:
            await send(message)

    return application


DENIAL = [
    {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"unknown")]},
    {"type": "websocket.http.response.body", "body": b"who ", "more_body": True},
    {"type": "websocket.http.response.body", "body": b"are you?"},
]


@pytest.mark.parametrize(
    ("messages", "status", "body"),
    [
        ([{"type": "websocket.close"}], 403, b"Forbidden"),
        (DENIAL, 401, b"who are you?"),
    ],
)
def test_denial(serving, messages, status, body):
    with serving(answering(*messages)) as server:
        with pytest.raises(InvalidStatus) as caught, client_of(server):
            pass
        assert caught.value.response.status_code == status
        assert caught.value.response.body == body
    assert server.complaints == []
    assert server.server.service.active == 0


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([], "neither accepted"),
        ([{"type": "websocket.send", "text": "early"}], "is not to be sent now"),
        ([{"type": "nonsense"}], "is not to be sent now"),
        ([{"type": "websocket.accept", "headers": [(b"a b", b"c")]}], "cannot be the name"),
        ([{"type": "websocket.accept", "headers": [(b"upgrade", b"c")]}], "cannot be the name"),
        ([{"type": "websocket.accept", "headers": [(b"a", b"b\r\nc: d")]}], "no value may have"),
        ([{"type": "websocket.accept", "subprotocol": "a\r\nb"}], "no value may have"),
    ],
)
def test_mistakes_before_it_is_accepted(serving, messages, complaint):
    with serving(answering(*messages)) as server:
        with pytest.raises(InvalidStatus) as caught, client_of(server):
            pass
        assert caught.value.response.status_code == 500
    [(message, exception)] = server.complaints
    assert complaint in f"{message} {exception}"


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "websocket.accept"}, "is not to be sent now"),
        ({"type": "websocket.send"}, "neither bytes nor text"),
        ({"type": "websocket.close", "code": 1006}, "cannot be closed with 1006"),
        ({"type": "websocket.close", "reason": "x" * 200}, "cannot be closed with 1000"),
    ],
)
def test_mistakes_after_it_is_accepted(serving, message, complaint):
    with serving(answering({"type": "websocket.accept"}, message)) as server, client_of(server) as client:
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_S)
        assert client.protocol.close_code == 1011
    [(_, exception)] = server.complaints
    assert complaint in str(exception)


@pytest.mark.parametrize("accepts", [False, True])
def test_application_that_wants_to_end_the_server(serving, accepts):
    async def application(scope, receive, send):
        await receive()
        if accepts:
            await send({"type": "websocket.accept"})
        raise SystemExit("on purpose")

    with serving(application) as server:
        for _ in range(2):
            if accepts:
                with raw(server) as client:
                    assert receive_exactly(client, 4) == b"\x88\x02" + (1011).to_bytes(2, "big")
            else:
                with pytest.raises(InvalidStatus) as caught:
                    client_of(server)
                assert caught.value.response.status_code == 500
    assert [str(exception) for _, exception in server.complaints] == ["on purpose"] * 2


def test_application_that_returns_closes(serving):
    with serving(answering({"type": "websocket.accept"})) as server, client_of(server) as client:
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_S)
        assert client.protocol.close_code == 1000
    assert server.complaints == []


# Byte by byte.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(key=b""), b"400"),
        (request(key=b"c2hvcnQ="), b"400"),
        (request(version=b""), b"400"),
        (request(version=b"8"), b"400"),
    ],
)
def test_bad_handshakes(serving, data, status):
    with serving(echo) as server:
        said = server.talk(data)
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"sec-websocket-version: 13\r\n" in said
    assert len(server.complaints) == 1


def closing(code):
    return bytes((0x88,)), struct.pack("!H", code)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x81, b"hi", mask=b""), 1002),  # not masked
        (frame(0x81, b"x" * 200, mask=b""), 1002),
        (frame(0x89, mask=b""), 1002),
        (frame(0xC1, b"hi"), 1002),  # a reserved bit
        (frame(0x83, b"hi"), 1002),  # a reserved opcode
        (frame(0x8B, b"hi"), 1002),
        (frame(0x80, b"hi"), 1002),  # nothing that it could continue
        (frame(0x01, b"hi") + frame(0x81, b"hi"), 1002),  # something else in a message
        (frame(0x09, b"hi"), 1002),  # a control frame in fragments
        (frame(0x89, b"x" * 126), 1002),  # and one that is too long
        (frame(0x88, b"x"), 1002),  # half a code
        (frame(0x88, struct.pack("!H", 1005)), 1002),  # a code that is never sent
        (frame(0x88, struct.pack("!H", 999)), 1002),
        (frame(0x88, struct.pack("!H", 1000) + b"\xff"), 1007),
        (frame(0x81, b"\xff"), 1007),  # no UTF-8
        (frame(0x81, "é".encode()[:1]), 1007),
        (frame(0x01, "é".encode()[:1]) + frame(0x80, b"x"), 1007),
        (frame(0x81, b"\xed\xa0\x80"), 1007),  # half a surrogate pair
        (frame(0x82, length=2_000_000), 1009),
        (frame(0x02, b"x" * 600_000) + frame(0x80, b"x" * 600_000), 1009),
    ],
)
def test_protocol_errors(serving, data, code):
    with serving(echo, ws_max_size=1_000_000) as server:
        with raw(server) as client:
            client.sendall(data)
            said = read_all(client)
        assert last()[0] == code
    assert said[:1] == b"\x88"
    assert said[2:4] == struct.pack("!H", code)
    assert len(server.complaints) == 1


def test_frames_in_pieces(serving):
    sent = frame(0x81, b"one") + frame(0x89, b"ping") + frame(0x01, b"t") + frame(0x89) + frame(0x80, b"wo")
    sent += frame(0x82, b"x" * 300)
    wanted = b"\x81\x03one" + b"\x8a\x04ping" + b"\x8a\x00" + b"\x81\x03two" + b"\x82\x7e\x01\x2c" + b"x" * 300
    with serving(echo) as server, raw(server) as client:
        for step in (1, 3, len(sent)):
            for at in range(0, len(sent), step):
                client.sendall(sent[at : at + step])
            # Answers to pings do not wait for the application.
            assert sorted(receive_exactly(client, len(wanted))) == sorted(wanted)
    assert server.complaints == []


def test_frames_behind_the_request(serving):
    """A client that is in a hurry."""
    with serving(echo) as server, server.connect() as client:
        client.sendall(request() + frame(0x81, b"one") + frame(0x88))
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 101")
    assert said.endswith(b"\x88\x00")
    assert server.complaints == []


def test_close_handshakes(serving):
    with serving(echo) as server:
        for data, code, reason in [
            (b"", 1005, ""),
            (struct.pack("!H", 1001), 1001, ""),
            (struct.pack("!H", 4999) + "é".encode(), 4999, "é"),
        ]:
            with raw(server) as client:
                client.sendall(frame(0x88, data) + frame(0x81, b"ignored"))
                assert read_all(client) == bytes((0x88, len(data))) + data
            assert last() == (code, reason)
    assert server.complaints == []


def test_close_in_the_middle_of_a_message(serving):
    code = struct.pack("!H", 1000)
    with serving(echo) as server:
        with raw(server) as client:
            client.sendall(frame(0x01, b"half") + frame(0x88, code) + frame(0x80, b"ignored"))
            assert read_all(client) == b"\x88\x02" + code
        assert last() == (1000, "")
    assert server.complaints == []


def test_server_that_closes_in_the_middle_of_a_message(serving):
    with serving(answering({"type": "websocket.accept"}, {"type": "websocket.close"})) as server, raw(server) as client:
        assert receive_exactly(client, 4) == b"\x88\x02" + struct.pack("!H", 1000)
        client.sendall(frame(0x01, b"half") + frame(0x88, struct.pack("!H", 1000)))
        assert read_all(client) == b""
    assert server.complaints == []


def test_fragment_that_is_no_text_is_refused_before_the_rest_comes(serving):
    with serving(echo) as server, raw(server) as client:
        client.sendall(frame(0x01, "é".encode()[:1]) + frame(0x00, "é".encode()[1:]) + frame(0x00, b"\xf4\x90"))
        assert read_all(client)[2:4] == struct.pack("!H", 1007)
        assert last()[0] == 1007
    assert len(server.complaints) == 1


def test_abrupt_ends(serving):
    with serving(echo) as server:
        for data in (b"", frame(0x81, b"x")[:3], frame(0x01, b"x")):
            with raw(server) as client:
                client.sendall(data)
            assert last()[0] == 1006
        with raw(server) as client:
            client.setsockopt(1, 13, RESET)  # SO_LINGER: a reset
        assert last()[0] == 1006
    assert server.complaints == []


def test_client_that_goes_before_it_is_accepted(serving):
    came = threading.Event()

    async def application(scope, receive, send):
        await receive()
        came.set()
        message = await receive()
        with contextlib.suppress(OSError):
            await send({"type": "websocket.accept"})
            message = "sent"
        seen.put(message)

    with serving(application) as server:
        with server.connect() as client:
            client.sendall(request())
            assert came.wait(WAIT_S)
        assert last()[0] == 1006
    assert server.complaints == []


def test_sending_after_the_end_raises(serving):
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            seen.put(error)
            raise

    with serving(application) as server:
        with raw(server):
            pass
        assert "closed" in str(seen.get(timeout=WAIT_S))
    assert server.complaints == []


RECEIVED_MAX = 1 << 20
"""More than comes in one turn of a loop."""


def test_application_that_takes_nothing_holds_the_client_back(serving):
    go = threading.Event()

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, go.wait, WAIT_S)
        size = 0
        while (message := await receive())["type"] == "websocket.receive":
            size += len(message["bytes"])
        seen.put(size)

    count, piece = 2000, frame(0x82, b"x" * 32_000)
    assert len(piece) * count > QUEUES_MAX
    with serving(application) as server, raw(server) as client:
        sender = threading.Thread(target=client.sendall, args=(piece * count + frame(0x88),))
        sender.start()
        [websocket] = server.server.service.connections
        server.until(lambda: websocket.reading_paused)
        held = server.until(lambda: websocket.held)
        assert HELD_MAX < held < HELD_MAX + RECEIVED_MAX
        assert sender.is_alive()
        assert not websocket.transport.is_reading()
        assert server.until(lambda: websocket.held) == held
        go.set()
        assert seen.get(timeout=WAIT_S) == 32_000 * count
        sender.join(WAIT_S)
        assert not sender.is_alive()
        assert read_all(client) == b"\x88\x00"
    assert server.complaints == []


def waiting(go, taken):
    """An application that takes nothing before it is told to; puts the messages' lengths into a list."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.get_running_loop().run_in_executor(None, go.wait, WAIT_S)
        while (message := await receive())["type"] == "websocket.receive":
            taken.append(len(message.get("bytes") or message.get("text") or b""))
        seen.put(message)

    return application


def bomb(size):
    """A frame of a compressed message of so many bytes, all of them 0."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(0xC2, data.removesuffix(b"\0\0\xff\xff"), mask=bytes(4))


DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"


@pytest.mark.parametrize("in_a_hurry", [False, True])
def test_deflate_bombs_wait_as_they_came(serving, in_a_hurry):
    go, taken = threading.Event(), []
    size, count = 2_000_000, 20
    data = bomb(size) * count + frame(0x88, struct.pack("!H", 1000))
    assert len(data) < HELD_MAX
    with serving(waiting(go, taken)) as server, server.connect() as client:
        client.sendall(request(DEFLATE) + (data if in_a_hurry else b""))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        if not in_a_hurry:
            client.sendall(data)
        [websocket] = server.server.service.connections
        server.until(lambda: websocket.reading_paused)
        assert (websocket.held, len(websocket.messages)) == (size, 1)
        assert 0 < len(websocket.buffer) < len(data)
        go.set()
        assert last() == (1000, "")
        assert taken == [size] * count
        assert read_all(client) == b"\x88\x02" + struct.pack("!H", 1000)
    assert server.complaints == []


def test_deflate_bombs_that_nobody_takes_any_more(serving):
    """The application closes, and the client has more on its way; its answer is behind that."""
    size, count = 2_000_000, 20
    go = threading.Event()

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.get_running_loop().run_in_executor(None, go.wait, WAIT_S)
        tracemalloc.start()
        await send({"type": "websocket.close"})
        seen.put(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    with serving(application) as server, raw(server, DEFLATE) as client:
        client.sendall(bomb(size) * count + frame(0x88, struct.pack("!H", 1000)))
        [websocket] = server.server.service.connections
        server.until(lambda: websocket.reading_paused)
        go.set()
        assert read_all(client) == b"\x88\x02" + struct.pack("!H", 1000)
        assert seen.get(timeout=WAIT_S) < size
    assert server.complaints == []


def test_many_small_messages_wait_as_they_came(serving):
    go, taken = threading.Event(), []
    count = 5000
    with serving(waiting(go, taken)) as server, raw(server) as client:
        client.sendall(frame(0x81, b"a") * count + frame(0x89, b"ping"))
        [websocket] = server.server.service.connections
        server.until(lambda: websocket.reading_paused)
        assert len(websocket.messages) == QUEUE_MAX + 1
        go.set()
        assert receive_exactly(client, 6) == b"\x8a\x04ping"
        client.sendall(frame(0x88))
        assert last() == (1005, "")
        assert taken == [1] * count
    assert server.complaints == []


@pytest.mark.parametrize(
    ("first", "piece", "count"),
    [(0x02, b"", 10_000), (0x01, b"", 10_000), (0x02, b"ab", 10_000), (0x01, b"ab", 10_000)],
)
def test_message_in_many_fragments_takes_no_more_than_its_bytes(serving, first, piece, count):
    with serving(echo, ws_max_size=1_000_000) as server, raw(server) as client:
        [websocket] = server.server.service.connections
        received = frame(0x00, piece) * (count // 10)
        client.sendall(frame(first))
        server.until(lambda: websocket.parts is not None)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(10):
                client.sendall(received)
            client.sendall(frame(0x89, b"ping"))
            assert receive_exactly(client, 6) == b"\x8a\x04ping"
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 150_000  # with an object for each fragment it is more than 300,000
        client.sendall(frame(0x80, b"end"))
        size = len(piece) * count + 3
        said = receive_exactly(client, size + (2 if size < 126 else 4))
        assert said.endswith(piece + b"end")
    assert server.complaints == []


def test_client_that_takes_nothing_holds_the_application_back(serving):
    size, count = 50_000, 1000
    assert size * count > QUEUES_MAX
    left = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        [websocket] = server.server.service.connections
        for _ in range(count):
            await send({"type": "websocket.send", "bytes": bytes(size)})
            left.append(websocket.transport.get_write_buffer_size())

    with serving(application) as server, raw(server) as client:
        [websocket] = server.server.service.connections
        transport = websocket.transport
        _, high = transport.get_write_buffer_limits()
        waiting = server.until(lambda: websocket.writers and transport.get_write_buffer_size())
        assert high < waiting <= high + size + 10  # one message more than there may be
        assert len(left) < count
        assert len(receive_exactly(client, (size + 4) * count)) == (size + 4) * count
        assert receive_exactly(client, 4)[:2] == b"\x88\x02"
        client.sendall(frame(0x88))
        assert read_all(client) == b""
        assert len(left) == count
        assert max(left) <= high  # send() returned only then
    assert server.complaints == []


def test_one_that_is_cancelled_leaves_others_alone(serving):
    done = threading.Event()

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        message = await one_of_two_cancelled(receive(), receive(), lambda: seen.put("receives"))
        large = {"type": "websocket.send", "bytes": bytes(QUEUES_MAX)}
        await one_of_two_cancelled(send(large), send(large), lambda: seen.put("sends"))
        await send({"type": "websocket.send", "text": message["text"]})
        done.set()

    with serving(application) as server, raw(server) as client:
        assert seen.get(timeout=WAIT_S) == "receives"
        client.sendall(frame(0x81, b"hello"))
        assert seen.get(timeout=WAIT_S) == "sends"
        receive_exactly(client, 2 * (QUEUES_MAX + 10))
        assert receive_exactly(client, 7) == b"\x81\x05hello"
        assert done.wait(WAIT_S)
    assert server.complaints == []


def test_client_that_never_takes_anything_is_cut_off(serving):
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(50_000)})
        except OSError as error:
            seen.put(error)

    with serving(application, timeout_write=0.2) as server, raw(server):
        assert "closed" in str(seen.get(timeout=WAIT_S))
    assert "takes nothing" in server.complaints[0][0]


def test_client_that_goes_while_nothing_is_received(serving):
    gate = asyncio.Event()

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await gate.wait()
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        seen.put(message["code"])

    with serving(application) as server:
        with raw(server) as client:
            client.sendall(frame(0x82, b"x") * (2 * QUEUE_MAX))
            server.until(lambda: server.server.service.unread)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        server.until(lambda: not server.server.service.unread)
        server.loop.call_soon_threadsafe(gate.set)
        assert seen.get(timeout=WAIT_S) == 1006
    assert server.complaints == []


def test_pings(serving):
    with serving(echo, ws_ping_interval=0.1, ws_ping_timeout=WAIT_S) as server, raw(server) as client:
        for _ in range(2):
            ping = receive_exactly(client, 6)
            assert ping[:2] == b"\x89\x04"
            client.sendall(frame(0x8A, ping[2:]))
    assert server.complaints == []


def test_pings_that_are_not_answered(serving):
    with serving(echo, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server:
        with raw(server) as client:
            said = read_all(client)
        assert last()[0] == 1011
    assert said[:2] == b"\x89\x04"
    assert said[6:7] == b"\x88"
    assert said[8:10] == struct.pack("!H", 1011)
    assert "does not answer" in server.complaints[0][0]


def test_answer_to_a_ping_behind_messages_that_wait(serving):
    """It is the application that is slow, and not the client."""
    go, taken = threading.Event(), []
    count = 3 * QUEUE_MAX
    expired = threading.Semaphore(0)
    options = {"ws_ping_interval": 0.1, "ws_ping_timeout": WAIT_S}
    with serving(waiting(go, taken), **options) as server, raw(server) as client:
        ping = receive_exactly(client, 6)
        [websocket] = server.server.service.connections
        expire = websocket.expire

        def counted():
            expire()
            expired.release()

        websocket.expire = counted
        client.sendall(frame(0x81, b"a") * count)
        server.until(lambda: websocket.reading_paused)

        def time_is_over(then=lambda: None):
            websocket.deadline = 1.0
            then()
            return True

        for _ in range(2):
            server.until(time_is_over)
            assert expired.acquire(timeout=WAIT_S)
        server.until(lambda: time_is_over(go.set))
        server.until(lambda: not websocket.reading_paused)
        assert websocket.deadline > 1.0
        client.sendall(frame(0x8A, ping[2:]))
        server.until(lambda: len(taken) == count)
        client.sendall(frame(0x88))
        assert last() == (1005, "")
    assert server.complaints == []


def test_server_that_stops(serving):
    with serving(echo) as server:
        with client_of(server) as client:
            client.send("one")
            assert client.recv(WAIT_S) == "one"
            server.loop.call_soon_threadsafe(server.server.stop)
            with pytest.raises(ConnectionClosed):
                client.recv(WAIT_S)
            assert client.protocol.close_code == 1012
        assert last() == (1012, "")
    assert server.complaints == []


def test_server_that_stops_before_it_is_accepted(serving):
    came = threading.Event()

    async def application(scope, receive, send):
        await receive()
        came.set()
        seen.put(await receive())

    with serving(application) as server, server.connect() as client:
        client.sendall(request())
        assert came.wait(WAIT_S)
        server.loop.call_soon_threadsafe(server.server.stop)
        assert read_response(client)[0] == 503
        assert last()[0] == 1006
    assert server.complaints == []


def test_application_that_does_not_return_is_cancelled(serving):
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    with serving(application, timeout_graceful_shutdown=0.1) as server, raw(server) as client:
        server.loop.call_soon_threadsafe(server.server.stop)
        assert read_all(client)[:4] == b"\x88\x02" + struct.pack("!H", 1012)
    assert any("cut off" in message for message, _ in server.complaints)


def test_limit_concurrency(serving):
    with serving(echo, limit_concurrency=1) as server:
        with raw(server):
            assert server.talk(request()).startswith(b"HTTP/1.1 503")
            assert server.talk(GET).startswith(b"HTTP/1.1 503")
        assert last()[0] == 1006
    assert server.server.service.active == 0


def test_request_behind_another_is_answered_as_http(serving):
    with serving(hello) as server:
        said = server.talk(GET + request())
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert server.complaints == []


def test_no_websockets_over_http_10(serving):
    with serving(hello) as server:
        said = server.talk(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert not said.startswith(b"HTTP/1.1 101")
