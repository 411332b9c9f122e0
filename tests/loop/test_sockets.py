"""sock_* calls: when they begin, what they refuse, and that those which are cancelled lose nothing."""

import array
import asyncio
import contextlib
import errno
import gc
import os
import socket
import ssl
import struct
import warnings

import pytest

import running
from ioring.ring.sockaddr import decode, encode, encode_for
from rings import WAIT_S, as_root
from running import run, until

ADDRESS = ("127.0.0.1", 1)

CALLS = {
    "sock_recv": (5,),
    "sock_recv_into": (bytearray(5),),
    "sock_recvfrom": (5,),
    "sock_recvfrom_into": (bytearray(5),),
    "sock_sendall": (b"bytes",),
    "sock_sendto": (b"bytes", ADDRESS),
    "sock_accept": (),
    "sock_connect": (ADDRESS,),
}
"""Each call, with arguments that nothing is wrong with."""


@pytest.fixture
def stock():
    """asyncio's own loop, to compare with."""
    loop = asyncio.SelectorEventLoop()
    yield loop
    loop.close()


@pytest.mark.parametrize("turns", range(4))
def test_cancelled_receive_leaves_its_bytes_to_the_next(loop, pair, turns):
    async def main():
        first = asyncio.create_task(loop.sock_recv(pair[0], 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pair[1].send(b"bytes")
        for _ in range(turns):
            await asyncio.sleep(0)
        if first.cancel():
            with pytest.raises(asyncio.CancelledError):
                await first
            return await asyncio.wait_for(loop.sock_recv(pair[0], 5), 5)
        return await first

    assert loop.run_until_complete(main()) == b"bytes"


def test_receives_cancelled_again_and_again_keep_the_order(loop, pair):
    async def main():
        received = b""
        expected = bytes(range(200))
        for number in range(200):
            task = asyncio.create_task(loop.sock_recv(pair[0], 100))
            await asyncio.sleep(0)
            pair[1].send(expected[number : number + 1])
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                received += await task
            except asyncio.CancelledError:
                pass
        while len(received) < 200:
            received += await asyncio.wait_for(loop.sock_recv(pair[0], 100), 5)
        return received

    assert loop.run_until_complete(main()) == bytes(range(200))


def test_cancelled_receive_into_does_not_touch_the_buffer_later(loop, pair):
    async def main():
        buffer = bytearray(5)
        task = asyncio.create_task(loop.sock_recv_into(pair[0], buffer))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)
        pair[1].send(b"bytes")
        other = bytearray(5)
        assert await asyncio.wait_for(loop.sock_recv_into(pair[0], other), 5) == 5
        return bytes(buffer), bytes(other)

    assert loop.run_until_complete(main()) == (bytes(5), b"bytes")


def test_blocking_socket_is_refused_before_a_name_is_looked_up(loop, monkeypatch):
    async def lookup(*args, **options):
        pytest.fail("looked up")

    monkeypatch.setattr(loop, "getaddrinfo", lookup)
    loop.set_debug(True)
    with socket.socket() as sock, pytest.raises(ValueError, match="non-blocking"):
        loop.run_until_complete(loop.sock_connect(sock, ("localhost", 1)))


def test_sending_is_tried_at_once(loop, pair):
    async def main():
        with socket.socket(fileno=pair[0].detach()) as sock:
            task = asyncio.create_task(loop.sock_sendall(sock, b"bytes"))
            loop.call_soon(sock.close)  # in the turn in which the task begins
            await task
        return await loop.sock_recv(pair[1], 100)

    assert loop.run_until_complete(main()) == b"bytes"


def test_rest_of_what_is_sent_at_once_follows(loop, pair):
    data = bytes(range(256)) * 8192

    async def main():
        task = asyncio.create_task(loop.sock_sendall(pair[0], data))
        await asyncio.sleep(0)
        received = b""
        while len(received) < len(data):
            received += await asyncio.wait_for(loop.sock_recv(pair[1], 1 << 20), WAIT_S)
        await task
        return received

    assert loop.run_until_complete(main()) == data


def test_error_of_what_is_sent_at_once(loop, pair):
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        loop.run_until_complete(loop.sock_sendall(pair[0], b"bytes"))


@pytest.mark.parametrize("call", ["sock_sendall", "sock_recv", "sock_recv_into"])
def test_socket_that_is_closed_before_its_call_begins(loop, pair, call):
    """Its number may be another socket's by then."""

    async def main():
        sock = socket.socket(fileno=pair[0].detach())
        number = sock.fileno()
        argument = {"sock_sendall": b"bytes", "sock_recv": 5, "sock_recv_into": bytearray(5)}[call]
        task = asyncio.create_task(getattr(loop, call)(sock, argument))
        sock.close()
        others = socket.socketpair()
        with others[0], others[1]:
            assert number in (other.fileno() for other in others)
            for other in others:
                other.send(b"other")
            with pytest.raises(OSError, match="closed") as caught:
                await asyncio.wait_for(task, WAIT_S)
            assert caught.value.errno == errno.EBADF
            for other in others:
                assert other.recv(100) == b"other"

    loop.run_until_complete(main())


def test_socket_that_is_closed_while_its_call_waits_for_a_cancelled_one(loop, pair):
    async def main():
        sock = socket.socket(fileno=pair[0].detach())
        first = asyncio.create_task(loop.sock_recv(sock, 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(loop.sock_recv(sock, 5))
        await asyncio.sleep(0)
        sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            await asyncio.wait_for(second, WAIT_S)

    loop.run_until_complete(main())


@pytest.mark.parametrize("call", ["recv", "accept"])
def test_socket_closed_in_the_turn_takes_nothing_from_the_next_with_its_number(loop, pair, call):
    """The request was begun, and was not with the kernel yet."""
    others = []

    def swap(first):
        number = first.fileno()
        first.close()
        if call == "recv":
            others.extend(socket.socketpair())
            others[1].send(b"other")
        else:
            others.append(socket.create_server(("127.0.0.1", 0)))
            others.append(socket.create_connection(others[0].getsockname()))
        assert others[0].fileno() == number
        others[0].setblocking(False)

    async def main():
        first = pair[0] if call == "recv" else socket.create_server(("127.0.0.1", 0))
        first.setblocking(False)
        waiting = loop.create_task(loop.sock_recv(first, 5) if call == "recv" else loop.sock_accept(first))
        loop.call_soon(swap, first)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await waiting
        if call == "recv":
            assert await asyncio.wait_for(loop.sock_recv(others[0], 5), 5) == b"other"
        else:
            others.append((await asyncio.wait_for(loop.sock_accept(others[0]), 5))[0])

    try:
        loop.run_until_complete(main())
    finally:
        for other in others:
            other.close()


def raised(loop, call, *arguments):
    """The kind of the exception of a call, and the error's number if it has one; or what it returns."""

    async def main():
        return await getattr(loop, call)(*arguments)

    try:
        return run(loop, main())
    except Exception as exception:
        return type(exception), getattr(exception, "errno", None)


class Reluctant:
    """Says its descriptor when it is asked for the first time, and fails then."""

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, 0

    def __init__(self, sock, answers):
        self.sock = sock
        self.answers = answers

    def gettimeout(self):
        return 0

    def fileno(self):
        self.answers -= 1
        if self.answers < 0:
            raise LookupError("no descriptor")
        return self.sock.fileno()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", [3, None, "socket", object()], ids=["number", "none", "text", "object"])
def test_what_is_no_socket_is_refused(loop, stock, call, wrong):
    said = raised(loop, call, wrong, *CALLS[call])
    assert said == raised(stock, call, wrong, *CALLS[call])
    assert said[0] is AttributeError
    running.turns(loop)


@pytest.mark.parametrize("call", CALLS)
def test_closed_socket_is_refused(loop, stock, call):
    sock = socket.socket()
    sock.close()
    said = raised(loop, call, sock, *CALLS[call])
    assert said == raised(stock, call, sock, *CALLS[call]) == (OSError, errno.EBADF)


@pytest.mark.parametrize("call", CALLS)
def test_tls_socket_is_refused(loop, stock, call):
    with ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(socket.socket(), server_hostname="localhost") as sock:
        said = raised(loop, call, sock, *CALLS[call])
        assert said == raised(stock, call, sock, *CALLS[call]) == (TypeError, None)


@pytest.mark.parametrize("call", CALLS)
def test_blocking_socket_is_refused_in_debug_mode(loop, stock, pair, call):
    pair[0].setblocking(True)
    loop.set_debug(True)
    stock.set_debug(True)
    said = raised(loop, call, pair[0], *CALLS[call])
    assert said == raised(stock, call, pair[0], *CALLS[call]) == (ValueError, None)


@pytest.mark.parametrize("call", [call for call in CALLS if call not in ("sock_sendall", "sock_sendto")])
@pytest.mark.parametrize("answers", range(2))
def test_socket_that_fails_later_fails_its_call_alone(loop, pair, call, answers):
    async def main():
        other = asyncio.create_task(loop.sock_recv(pair[0], 5))
        with pytest.raises(LookupError, match="no descriptor"):
            await getattr(loop, call)(Reluctant(pair[1], answers), *CALLS[call])
        pair[1].send(b"bytes")
        return await other

    assert run(loop, main()) == b"bytes"


def test_socket_that_fails_after_waiting_for_a_cancelled_call_fails_its_own_alone(loop, pair):
    async def main():
        sock = Reluctant(pair[0], 3)
        first = asyncio.create_task(loop.sock_recv(sock, 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(loop.sock_recv(sock, 5))
        with pytest.raises(LookupError, match="no descriptor"):
            await second

    run(loop, main())


OWNERS = {
    "create_connection": lambda loop, sock: loop.create_connection(asyncio.Protocol, sock=sock),
    "tls": lambda loop, sock: loop.create_connection(asyncio.Protocol, sock=sock, ssl=True, server_hostname="name"),
    "create_unix_connection": lambda loop, sock: loop.create_unix_connection(asyncio.Protocol, sock=sock),
    "connect_accepted_socket": lambda loop, sock: loop.connect_accepted_socket(asyncio.Protocol, sock),
    "create_server": lambda loop, sock: loop.create_server(asyncio.Protocol, sock=sock),
    "create_unix_server": lambda loop, sock: loop.create_unix_server(asyncio.Protocol, sock=sock),
    "create_datagram_endpoint": lambda loop, sock: loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock),
}
"""What makes a transport or a server of a socket."""


@pytest.mark.parametrize("call", OWNERS)
def test_closed_socket_gets_no_transport(loop, stock, call):
    family = socket.AF_UNIX if "unix" in call else socket.AF_INET
    kind = socket.SOCK_DGRAM if "datagram" in call else socket.SOCK_STREAM

    async def main(loop):
        sock = socket.socket(family, kind)
        sock.close()
        with pytest.raises(OSError) as caught:
            await OWNERS[call](loop, sock)
        return caught.value.errno

    assert run(loop, main(loop)) == stock.run_until_complete(main(stock)) == errno.EBADF


IN_USE = "File descriptor .* is used by transport"

OWNED_CALLS = [call for call in CALLS if call not in ("sock_sendall", "sock_sendto")]
"""Those that wait. What is sent, asyncio's own loop sends at once, whoever else uses the socket."""


@contextlib.asynccontextmanager
async def in_use(loop, sock):
    """A stream that uses a socket: its reading end."""
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield reader
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("call", OWNED_CALLS)
def test_socket_of_a_transport_is_not_read_by_another(loop, pair, call):
    async def main():
        async with in_use(loop, pair[0]) as reader:
            with pytest.raises(RuntimeError, match=IN_USE):
                await getattr(loop, call)(pair[0], *CALLS[call] if call != "sock_connect" else ["\0nobody"])
            pair[1].send(b"bytes")
            return await reader.readexactly(5)

    assert run(loop, main()) == b"bytes"


@pytest.mark.parametrize("call", ["sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"])
def test_receiving_from_the_socket_of_a_transport_is_refused_as_by_asyncio(loop, stock, call):
    async def main(loop):
        ends = socket.socketpair()
        with ends[0], ends[1]:
            async with in_use(loop, ends[0]):
                with pytest.raises(RuntimeError, match=IN_USE):
                    await getattr(loop, call)(ends[0], *CALLS[call])

    run(loop, main(loop))
    run(stock, main(stock))


@pytest.mark.parametrize("size", [5, 1 << 22], ids=["little", "much"])
def test_sending_to_the_socket_of_a_transport_succeeds_if_it_need_not_wait(loop, stock, size):
    async def main(loop):
        ends = socket.socketpair()
        with ends[0], ends[1]:
            async with in_use(loop, ends[0]):
                await loop.sock_sendall(ends[0], bytes(size))
            return "sent"

    def said(loop):
        try:
            return run(loop, main(loop))
        except RuntimeError as exception:
            return str(exception).partition("transport")[0].rstrip("0123456789 ")[:4]

    assert said(loop) == said(stock) == ("sent" if size == 5 else "File")


def test_datagram_is_sent_from_the_socket_of_a_transport(loop, stock):
    async def main(loop):
        with socket.socket(type=socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
            sock = socket.socket(type=socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)
            assert await loop.sock_sendto(sock, b"bytes", receiver.getsockname()) == 5
            received = await loop.sock_recvfrom(receiver, 10)
            assert received == (b"bytes", sock.getsockname())
            transport.abort()
            await asyncio.sleep(0)
        return received[0]

    assert run(loop, main(loop)) == run(stock, main(stock)) == b"bytes"


def test_socket_has_one_transport_at_a_time(loop, pair):
    async def main():
        async with in_use(loop, pair[0]) as reader:
            with pytest.raises(RuntimeError, match=IN_USE):
                await asyncio.open_connection(sock=pair[0])
            with pytest.raises(RuntimeError, match=IN_USE):
                await loop.connect_accepted_socket(asyncio.Protocol, pair[0])
            assert pair[0].fileno() != -1
            pair[1].send(b"bytes")
            assert await reader.readexactly(5) == b"bytes"

    run(loop, main())


def test_datagram_socket_has_one_transport_at_a_time(loop):
    async def main():
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)
        with pytest.raises(RuntimeError, match=IN_USE):
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)
        with pytest.raises(RuntimeError, match=IN_USE):
            await loop.sock_recvfrom(sock, 5)
        transport.abort()
        await asyncio.sleep(0)

    run(loop, main())


def test_descriptor_is_free_when_its_transport_is_closing(loop, pair):
    async def main():
        number = pair[0].fileno()
        async with in_use(loop, pair[0]):
            pass
        ends = socket.socketpair()
        with ends[0], ends[1]:
            assert number in (end.fileno() for end in ends)
            for end in ends:
                end.setblocking(False)
            ends[0].send(b"there")
            ends[1].send(b"bytes")
            return await loop.sock_recv(ends[0], 5), await loop.sock_recv(ends[1], 5)

    assert run(loop, main()) == (b"bytes", b"there")


async def abandon(loop, call, sock, peer, *messages, turns=1):
    """Cancels a call for up to ten bytes so many turns after the messages were sent to it. Its result, if it has one.

    In one of these turns the bytes have arrived, and the task does not know yet.
    """
    task = asyncio.create_task(receive(loop, call, sock, 10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for message in messages:
        peer.send(message)
    for _ in range(turns):
        await asyncio.sleep(0)
    if not task.cancel():
        return await task
    with pytest.raises(asyncio.CancelledError):
        await task
    return None


async def receive(loop, call, sock, size):
    """Bytes and, if the call gives it, an address."""
    if call.endswith("_into"):
        buffer = bytearray(size)
        got = await getattr(loop, call)(sock, buffer)
        return (bytes(buffer[: got[0]]), got[1]) if isinstance(got, tuple) else bytes(buffer[:got])
    return await getattr(loop, call)(sock, size)


def data_of(received):
    return received[0] if isinstance(received, tuple) else received


RECEIVING = ["sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"]


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("first", RECEIVING)
@pytest.mark.parametrize("second", RECEIVING)
def test_bytes_of_a_cancelled_receive_are_for_each_kind_of_receive(loop, pair, first, second, turns):
    async def main():
        received = data_of(await abandon(loop, first, *pair, b"bytes", turns=turns) or b"")
        while len(received) < 5:
            part = await receive(loop, second, pair[0], 2)
            assert isinstance(part, tuple) == ("from" in second)
            assert 0 < len(data_of(part)) <= 2
            received += data_of(part)
        return received

    assert run(loop, main()) == b"bytes"


@pytest.fixture(params=[socket.SOCK_DGRAM, socket.SOCK_SEQPACKET], ids=["dgram", "seqpacket"])
def messages(request):
    """Two sockets that keep messages apart."""
    ends = socket.socketpair(socket.AF_UNIX, request.param)
    for end in ends:
        end.setblocking(False)
    with ends[0], ends[1]:
        yield ends


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("first", RECEIVING)
@pytest.mark.parametrize("second", RECEIVING)
def test_message_of_a_cancelled_receive_stays_one(loop, messages, first, second, turns):
    async def main():
        done = await abandon(loop, first, *messages, b"12345", b"next", turns=turns)
        if done is None:
            assert data_of(await receive(loop, second, messages[0], 2)) == b"12"
        return data_of(await receive(loop, second, messages[0], 10))

    assert run(loop, main()) == b"next"


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("first", RECEIVING)
def test_empty_datagram_of_a_cancelled_receive_is_kept(loop, first, turns):
    async def main():
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ends[0], ends[1]:
            for end in ends:
                end.setblocking(False)
            done = await abandon(loop, first, *ends, b"", b"next", turns=turns)
            if done is None:
                assert data_of(await receive(loop, "sock_recv", ends[0], 10)) == b""
            return await receive(loop, "sock_recv", ends[0], 10)

    assert run(loop, main()) == b"next"


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("first", RECEIVING)
def test_sender_of_a_datagram_of_a_cancelled_receive(loop, first, turns):
    """It is known of a connected socket, even if the first call did not ask for it."""

    async def main():
        with socket.socket(type=socket.SOCK_DGRAM) as here, socket.socket(type=socket.SOCK_DGRAM) as there:
            for sock in (here, there):
                sock.setblocking(False)
                sock.bind(("127.0.0.1", 0))
            here.connect(there.getsockname())
            there.connect(here.getsockname())
            if await abandon(loop, first, here, there, b"bytes", turns=turns) is None:
                assert await loop.sock_recvfrom(here, 10) == (b"bytes", there.getsockname())

    run(loop, main())


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("first", RECEIVING)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "a turn later"])
def test_stream_begins_with_the_bytes_of_a_cancelled_receive(loop, pair, first, turns, waits):
    async def main():
        received = data_of(await abandon(loop, first, *pair, b"bytes", turns=turns) or b"")
        if waits:
            await asyncio.sleep(0)
        async with in_use(loop, pair[0]) as reader:
            pair[1].send(b" and the rest")
            return received + await reader.readexactly(18 - len(received))

    assert run(loop, main()) == b"bytes and the rest"


def test_stream_that_is_paused_at_once_keeps_the_bytes_of_a_cancelled_receive(loop, pair):
    class Paused(asyncio.Protocol):
        received = b""

        def connection_made(self, transport):
            transport.pause_reading()
            loop.call_soon(transport.resume_reading)
            loop.call_soon(transport.pause_reading)

        def data_received(self, data):
            self.received += data

    async def main():
        assert await abandon(loop, "sock_recv", *pair, b"bytes") is None
        transport, protocol = await loop.create_connection(Paused, sock=pair[0])
        pair[1].send(b" and the rest")
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.received == b""
        transport.resume_reading()
        await until(lambda: len(protocol.received) == 18)
        assert protocol.received == b"bytes and the rest"
        transport.abort()
        await asyncio.sleep(0)

    run(loop, main())


def test_stream_is_closed_before_it_gets_the_bytes_of_a_cancelled_receive(loop, pair):
    async def main():
        await abandon(loop, "sock_recv", *pair, b"bytes", turns=0)
        async with in_use(loop, pair[0]):
            pass

    run(loop, main())
    running.turns(loop)


@pytest.mark.parametrize("room", [100000, 262144])
def test_large_message_is_received_whole(loop, stock, messages, room):
    for end in messages:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400000)
    message = bytes(range(250)) * 600

    async def main(loop):
        messages[1].send(message)
        messages[1].send(b"next")
        return await loop.sock_recv(messages[0], room), await loop.sock_recv(messages[0], room)

    assert run(loop, main(loop)) == run(stock, main(stock)) == (message[:room], b"next")


def test_large_message_of_a_cancelled_receive_is_kept_whole(loop, messages):
    for end in messages:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400000)
    message = bytes(range(250)) * 600

    async def main():
        task = asyncio.create_task(loop.sock_recv(messages[0], 200000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        messages[1].send(message)
        await asyncio.sleep(0)
        if not task.cancel():
            return await task
        with pytest.raises(asyncio.CancelledError):
            await task
        return await loop.sock_recv(messages[0], 200000)

    assert run(loop, main()) == message


def test_nothing_is_received_into_no_memory(loop, stock, pair):
    pair[1].send(b"bytes")

    async def main(loop):
        return await loop.sock_recv_into(pair[0], bytearray()), await loop.sock_recv(pair[0], 0)

    assert run(loop, main(loop)) == run(stock, main(stock)) == (0, b"")
    pair[0].recv(5)
    assert run(loop, main(loop)) == run(stock, main(stock)) == (0, b"")


WRONG_ARGUMENTS = {
    "receive less than nothing": ("sock_recv", -1),
    "receive text": ("sock_recv", "x"),
    "receive half a byte": ("sock_recv", 1.5),
    "receive into bytes": ("sock_recv_into", b"bytes"),
    "receive into None": ("sock_recv_into", None),
    "receive a datagram of less than nothing": ("sock_recvfrom", -1),
    "receive a datagram of text": ("sock_recvfrom", "x"),
    "receive a datagram of bytes": ("sock_recvfrom", b"x"),
    "receive a datagram into bytes": ("sock_recvfrom_into", b"bytes"),
    "receive less than nothing of a datagram": ("sock_recvfrom_into", bytearray(5), -1),
    "receive more of a datagram than there is room": ("sock_recvfrom_into", bytearray(5), 6),
    "receive text of a datagram": ("sock_recvfrom_into", bytearray(5), "x"),
    "send text": ("sock_sendall", "x"),
    "send None": ("sock_sendall", None),
    "send a number": ("sock_sendall", 5),
    "send every second byte": ("sock_sendall", memoryview(b"bytes")[::2]),
    "send a datagram of text": ("sock_sendto", "x", ADDRESS),
    "send a datagram of None": ("sock_sendto", None, ADDRESS),
}


@pytest.mark.parametrize("wrong", WRONG_ARGUMENTS)
def test_wrong_arguments_are_refused_as_by_asyncio(loop, stock, wrong):
    call, *arguments = WRONG_ARGUMENTS[wrong]
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        said = raised(loop, call, sock, *arguments)
        assert said == raised(stock, call, sock, *arguments)
        assert issubclass(said[0], (TypeError, ValueError, BufferError))


WRONG_ADDRESSES = [
    (),
    ("127.0.0.1",),
    ("127.0.0.1", 99999),
    ("127.0.0.1", -1),
    ("127.0.0.1", "http"),
    ("127.0.0.1", None),
    ("127.0.0.1", 1, 2, 3, 4),
    (None, 1),
    (5, 1),
    ("::1", 1),
    ("a\0b", 1),
    (70 * "a", 1),
    "text",
    b"bytes",
    None,
    5,
    ["127.0.0.1", 1],
    "\0" + 200 * "a",
    200 * "a",
    (1, 2),
]


@pytest.mark.parametrize("call", ["sock_sendto", "sock_connect"])
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
@pytest.mark.parametrize("wrong", WRONG_ADDRESSES, ids=repr)
def test_wrong_addresses_are_refused_as_by_asyncio(loop, stock, call, family, wrong):
    def said(loop):
        with socket.socket(getattr(socket, family), socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            return raised(loop, call, sock, *(b"bytes", wrong) if call == "sock_sendto" else (wrong,))

    assert said(loop) == said(stock)


@pytest.fixture
def receiver():
    """A UDP socket that receives."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.mark.parametrize("host", ["localhost", "127.1", "", "<broadcast>"])
def test_datagrams_are_sent_to_hosts_by_name(loop, stock, receiver, host):
    async def main(loop):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            assert await loop.sock_sendto(sock, b"bytes", (host, receiver.getsockname()[1])) == 5
            return await loop.sock_recv(receiver, 10)

    def said(loop):
        try:
            return run(loop, main(loop))
        except OSError as error:
            return error.errno

    assert said(loop) == said(stock) == (errno.EACCES if host == "<broadcast>" else b"bytes")


def test_datagram_that_has_to_wait_for_room(loop):
    """The other end of a Unix socket takes a few only."""

    async def main():
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ends[0], ends[1]:
            path = "\0" + os.urandom(8).hex()
            ends[1].close()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there, ends[0] as here:
                there.bind(path)
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
                    for sock in (here, there):
                        sock.setblocking(False)
                    sent = 0
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            sent += bool(here.sendto(b"before", path))
                    task = asyncio.create_task(loop.sock_sendto(here, b"after", path))
                    for _ in range(5):
                        await asyncio.sleep(0)
                    assert not task.done()
                    received = [await loop.sock_recv(there, 10) for _ in range(sent + 1)]
                    return await task, received[0], received[-1]

    assert run(loop, main()) == (5, b"before", b"after")


def netlink_request():
    """Asks for the network interfaces: header, and the family that is asked for."""
    return struct.pack("=IHHIIB3x", 20, 18, 0x301, 7, 0, 0)


@pytest.mark.parametrize("call", ["sock_recvfrom", "sock_recvfrom_into"])
def test_netlink(loop, stock, call):
    async def main(loop):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
            sock.setblocking(False)
            sock.bind((0, 0))
            assert await loop.sock_sendto(sock, netlink_request(), (0, 0)) == 20
            data, address = await receive(loop, call, sock, 65536)
            assert struct.unpack_from("=IHHII", data)[3:] == (7, sock.getsockname()[0])
            await loop.sock_connect(sock, (0, 0))
            return address, sock.getpeername()

    assert run(loop, main(loop)) == run(stock, main(stock)) == ((0, 0), (0, 0))


def test_netlink_endpoint(loop, stock):
    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            if not self.received.done():
                self.received.set_result(address)

    async def main(loop):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
        sock.bind((0, 0))
        transport, protocol = await loop.create_datagram_endpoint(Protocol, sock=sock)
        protocol.received = loop.create_future()
        try:
            transport.sendto(netlink_request(), (0, 0))
            return await protocol.received
        finally:
            transport.abort()
            await asyncio.sleep(0)

    assert run(loop, main(loop)) == run(stock, main(stock)) == (0, 0)


def test_vsock_addresses():
    """As linux/vm_sockets.h lays them out: few machines can send to one."""
    name = struct.pack("=HHII4x", socket.AF_VSOCK, 0, 9999, 2)
    assert encode((2, 9999), socket.AF_VSOCK) == name
    assert decode(name) == (2, 9999)
    for wrong in ((2,), (2, -1), (2**32, 1), (2, "x")):
        assert encode_for(socket.AF_VSOCK, wrong) is None


@as_root
@pytest.mark.parametrize("call", ["sock_recvfrom", "sock_recvfrom_into"])
def test_family_that_only_the_socket_module_knows(loop, stock, call):
    async def main(loop):
        kind = 0xA000 + os.getpid() % 0x1000  # nobody else sends such packets, nor does this test in another process
        ends = [socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) for _ in range(2)]
        with ends[0], ends[1]:
            for end in ends:
                end.setblocking(False)
            ends[0].bind(("lo", kind))
            task = asyncio.create_task(receive(loop, call, ends[0], 100))
            for _ in range(3):
                await asyncio.sleep(0)
            assert not task.done()
            # Whole, since the kernel reads as much of it whatever length it is said to have.
            address = ("lo", kind, socket.PACKET_HOST, socket.htons(1), bytes(6))
            assert await loop.sock_sendto(ends[1], b"bytes", address) == 5
            return await task

    assert run(loop, main(loop)) == run(stock, main(stock))


def test_refused_connection_says_where(loop, stock):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()

        async def main():
            with pytest.raises(ConnectionRefusedError) as caught:
                await asyncio.open_connection(*address)
            return str(caught.value), caught.value.filename

        assert run(loop, main()) == run(stock, main())
        assert run(loop, main()) == (f"[Errno 111] Connect call failed {address}", None)


@pytest.mark.parametrize("path", ["none", 200 * "a", "a\0b"])
def test_unix_path_that_cannot_be_connected_to(loop, stock, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)

    async def main():
        with pytest.raises(OSError) as caught:
            await asyncio.open_unix_connection(path)
        return type(caught.value), str(caught.value), caught.value.filename

    assert run(loop, main()) == run(stock, main())


@pytest.mark.parametrize("call", [call for call in CALLS if call not in ("sock_connect", "sock_sendto")])
def test_error_names_what_was_called(loop, call):
    with socket.socket() as sock:
        sock.setblocking(False)
        if call == "sock_recv":
            sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError) as caught:
            run(loop, getattr(loop, call)(sock, *CALLS[call]))
    assert caught.value.filename == call.removeprefix("sock_")


@pytest.mark.parametrize("call", [call for call in CALLS if call != "sock_connect"])
def test_call_has_a_name_and_is_missed_when_it_is_not_awaited(loop, pair, call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        request = getattr(loop, call)(pair[0], *CALLS[call] if call != "sock_sendto" else (b"bytes", "\0nobody"))
        assert request.__name__ == call
        assert request.__qualname__ == f"Loop.{call}"
        del request
        gc.collect()
    assert [(str(one.message), one.category) for one in caught] == [
        (f"coroutine 'Loop.{call}' was never awaited", RuntimeWarning)
    ]


def test_task_of_a_call_is_shown_by_the_name(loop, pair):
    async def main():
        task = asyncio.create_task(loop.sock_recv(pair[0], 5))
        shown = repr(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return shown

    assert "coro=<Loop.sock_recv()" in run(loop, main())


def test_call_that_is_refused_or_closed_is_not_missed(loop, receiver):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call, *arguments in WRONG_ARGUMENTS.values():
            with contextlib.suppress(Exception):
                getattr(loop, call)(receiver, *arguments)
        loop.sock_recv(receiver, 5).close()
        gc.collect()
    assert not caught


def test_array_is_sent_whole(loop, pair):
    async def main():
        await loop.sock_sendall(pair[1], array.array("i", [1, 2]))
        return await loop.sock_recv(pair[0], 100)

    assert run(loop, main()) == struct.pack("@ii", 1, 2)


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("early", [False, True], ids=["after the cancellation", "before it"])
@pytest.mark.parametrize("first", RECEIVING)
@pytest.mark.parametrize("second", RECEIVING)
def test_bytes_of_a_cancelled_receive_are_for_one_that_waits_already(loop, pair, first, second, early, turns):
    async def main():
        task = asyncio.create_task(receive(loop, first, pair[0], 5))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(receive(loop, second, pair[0], 5)) if early else None
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pair[1].send(b"bytes")
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = task.cancel()
        received = await (waiting or receive(loop, second, pair[0], 5)) if cancelled else await task
        if early and not cancelled:
            waiting.cancel()
        pair[1].send(b"after")
        return data_of(received), data_of(await receive(loop, second, pair[0], 5))

    assert run(loop, main()) == (b"bytes", b"after")


def test_bytes_that_came_later_come_behind_those_of_a_cancelled_receive(loop, pair):
    """Both receives have completed when the first is cancelled."""

    async def main():
        tasks = [asyncio.create_task(loop.sock_recv(pair[0], 5)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pair[1].send(b"bytesafter")
        await asyncio.sleep(0)
        if not tasks[0].cancel():
            return await tasks[0] + await tasks[1]
        received = await tasks[1]
        while len(received) < 10:
            received += await loop.sock_recv(pair[0], 5)
        return received

    assert run(loop, main()) == b"bytesafter"


@pytest.mark.parametrize("turns", range(3))
def test_connection_of_a_cancelled_accept_is_for_one_that_waits_already(loop, turns):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            tasks = [asyncio.create_task(loop.sock_accept(listening)) for _ in range(2)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with socket.create_connection(listening.getsockname()) as peer:
                for _ in range(turns):
                    await asyncio.sleep(0)
                place = 1 if tasks[0].cancel() else 0
                connection, address = await tasks[place]
                with connection:
                    assert address == peer.getsockname()
                tasks[1].cancel()

    run(loop, main())
