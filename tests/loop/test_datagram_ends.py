"""Transports of datagram sockets: flow control, errors, and their end."""

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import weakref

import pytest

from datagrams import UDP_MAX, Echo, Receiver, blocked, closed, endpoint, name, udp, unix_pair
from rings import WAIT_S
from running import idle, in_flight, run, turns, unclosed, until

# Flow control.


def test_flow_control(loop):
    with unix_pair() as (here, there):
        transport, protocol = endpoint(loop, sock=here)
        transport.set_write_buffer_limits(high=100_000, low=20_000)
        assert transport.get_write_buffer_limits() == (20_000, 100_000)
        sent = 0
        while "pause" not in protocol.events:
            transport.sendto(b"%06d" % sent + b"x" * 10_000)
            sent += 1
            turns(loop, 1)
        assert transport.get_write_buffer_size() > 100_000
        received = []
        while len(received) < sent:
            received.append(int(there.recv(20_000)[:6]))
            turns(loop, 1)
        run(loop, until(lambda: transport.get_write_buffer_size() == 0))
        assert received == list(range(sent))
        assert protocol.events == ["made", "pause", "resume"]
        closed(loop, transport)


def test_pausing_within_a_turn(loop):
    transport, protocol = endpoint(loop)

    async def main():
        with udp() as sock:
            transport.set_write_buffer_limits(high=0)
            transport.sendto(b"x", sock.getsockname())
            assert protocol.events == ["made", "pause"]
            await until(lambda: "resume" in protocol.events)
            assert transport.get_write_buffer_size() == 0
            assert sock.recv(10) == b"x"

    run(loop, main())
    closed(loop, transport)


def test_sent_while_a_protocol_is_told_to_go_on(loop):
    class Going(Receiver):
        def resume_writing(self):
            Receiver.resume_writing(self)
            if len(self.events) < 20:
                self.transport.sendto(b"%d" % len(self.events), address)

    transport, protocol = endpoint(loop, Going)
    transport.set_write_buffer_limits(high=0)
    with udp() as sock:
        address = sock.getsockname()
        transport.sendto(b"0", address)
        run(loop, until(lambda: len(protocol.events) >= 20))
        assert int(sock.recv(10)) == 0
        assert [int(sock.recv(10)) for _ in range(8)] == list(range(3, 19, 2))
    closed(loop, transport)


# Pausing what is received: not in asyncio's documentation, but in its transports.


def test_pause_and_resume(loop):
    transport, protocol = endpoint(loop)
    with udp() as sock:
        transport.pause_reading()
        assert not transport.is_reading()
        for number in range(10):
            sock.sendto(b"%d" % number, name(transport))
            turns(loop)
        assert protocol.received == []
        transport.resume_reading()
        assert transport.is_reading()
        for number in range(10, 20):
            sock.sendto(b"%d" % number, name(transport))
        run(loop, until(lambda: len(protocol.received) == 20))
        assert protocol.data == [b"%d" % number for number in range(20)]
        for _ in range(3):
            transport.pause_reading()
            transport.resume_reading()
            transport.resume_reading()
        sock.sendto(b"20", name(transport))
        run(loop, until(lambda: len(protocol.received) == 21))
    closed(loop, transport)


def test_pausing_at_every_datagram_loses_none(loop):
    class Pausing(Receiver):
        def datagram_received(self, data, address):
            assert self.transport.is_reading()
            Receiver.datagram_received(self, data, address)
            self.transport.pause_reading()
            loop.call_soon(self.transport.resume_reading)

    transport, protocol = endpoint(loop, Pausing)
    with udp() as sock:
        for number in range(100):
            sock.sendto(b"%d" % number, name(transport))
        run(loop, until(lambda: len(protocol.received) == 100))
    assert protocol.data == [b"%d" % number for number in range(100)]
    closed(loop, transport)


# When something goes wrong.


def test_nobody_listens(loop):
    with udp() as sock:
        address = sock.getsockname()
    transport, protocol = endpoint(loop, remote_addr=address)
    transport.sendto(b"x")
    run(loop, until(lambda: protocol.errors))
    assert isinstance(protocol.errors[0], ConnectionRefusedError)
    assert not transport.is_closing()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(WAIT_S)
        count = len(protocol.errors)
        transport.sendto(b"y")
        turns(loop)
        assert sock.recv(10) == b"y"
        sock.sendto(b"z", name(transport))
        run(loop, until(lambda: protocol.received))
        assert len(protocol.errors) == count
    closed(loop, transport)


def test_datagram_that_is_too_long(loop):
    transport, protocol = endpoint(loop)
    with udp() as sock:
        transport.sendto(b"x" * (UDP_MAX + 1), sock.getsockname())
        transport.sendto(b"y", sock.getsockname())
        turns(loop)
        assert sock.recv(10) == b"y"
    assert [error.errno for error in protocol.errors] == [errno.EMSGSIZE]
    assert transport.get_write_buffer_size() == 0
    closed(loop, transport)


def test_receiver_that_is_not_there(loop, tmp_path):
    transport, protocol = endpoint(loop, local_addr=str(tmp_path / "here"), family=socket.AF_UNIX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(str(tmp_path / "there"))
        there.settimeout(WAIT_S)
        transport.sendto(b"x", str(tmp_path / "nowhere"))
        transport.sendto(b"y", str(tmp_path / "there"))
        run(loop, until(lambda: protocol.errors and transport.get_write_buffer_size() == 0))
        assert isinstance(protocol.errors[0], FileNotFoundError)
        assert there.recv(10) == b"y"
    closed(loop, transport)


@pytest.mark.parametrize("method", ["datagram_received", "error_received"])
def test_exception_of_the_protocol_ends_nothing(loop, method):
    class Failing(Receiver):
        pass

    def fail(self, *args):
        raise ArithmeticError(method)

    setattr(Failing, method, fail)
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    transport, _ = endpoint(loop, Failing)
    with udp() as sock:
        for _ in range(2):
            sock.sendto(b"x", name(transport))
            transport.sendto(b"x" * (UDP_MAX + 1), sock.getsockname())
        run(loop, until(lambda: len(contexts) == 2))
    assert all(isinstance(context["exception"], ArithmeticError) for context in contexts)
    assert not transport.is_closing()
    closed(loop, transport)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("paused", [False, True])
def test_what_ends_the_loop_does_not_end_receiving(loop, error, paused):
    class Ending(Receiver):
        def datagram_received(self, data, address):
            Receiver.datagram_received(self, data, address)
            if data == b"!":
                raise error

    transport, protocol = endpoint(loop, Ending)
    with udp() as sock:
        if paused:
            transport.pause_reading()
        sock.sendto(b"!", name(transport))
        sock.sendto(b"1", name(transport))
        if paused:
            turns(loop)
            transport.resume_reading()
        with pytest.raises(error):
            loop.run_forever()
        sock.sendto(b"2", name(transport))
        run(loop, until(lambda: len(protocol.received) == 3))
    assert protocol.data == [b"!", b"1", b"2"]
    closed(loop, transport)


# The end.


def test_what_was_sent_before_closing_arrives(loop):
    transport, protocol = endpoint(loop)

    async def main():
        for number in range(50):
            transport.sendto(b"%d" % number, sock.getsockname())
        transport.close()
        assert await protocol.lost is None

    with udp() as sock:
        run(loop, main())
        assert [int(sock.recv(10)) for _ in range(50)] == list(range(50))
    assert protocol.events[-1] == "lost"


def test_closing_waits_for_a_slow_receiver(loop):
    with unix_pair() as (here, there):
        transport, protocol = endpoint(loop, sock=here)
        for number in range(1500):
            transport.sendto(b"%d" % number)
        blocked(loop, transport)
        transport.close()
        turns(loop)
        assert not protocol.lost.done()
        there.setblocking(False)
        received = []

        async def receive():
            while len(received) < 1500:
                try:
                    received.append(there.recv(10))
                except BlockingIOError:
                    await asyncio.sleep(0)

        run(loop, receive())
        assert run(loop, protocol.lost) is None
        assert received == [b"%d" % number for number in range(1500)]


def test_nothing_is_received_after_closing(loop):
    before = idle(loop)
    transport, protocol = endpoint(loop)
    address = name(transport)
    turns(loop)
    assert in_flight(loop) > before
    with udp() as sock:
        sock.sendto(b"x", address)
        transport.close()
        transport.close()
        assert run(loop, protocol.lost) is None
        assert protocol.received == [] and protocol.events == ["made", "lost"]
        run(loop, until(lambda: in_flight(loop) == before))
        transport.pause_reading()
        transport.resume_reading()
        turns(loop)
        assert in_flight(loop) == before
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(address)  # it is free again


def test_closed_by_its_protocol(loop):
    class Closing(Receiver):
        def datagram_received(self, data, address):
            Receiver.datagram_received(self, data, address)
            self.transport.close()

    transport, protocol = endpoint(loop, Closing)
    with udp() as sock:
        for number in range(10):
            sock.sendto(b"%d" % number, name(transport))
        assert run(loop, protocol.lost) is None
    turns(loop)
    assert protocol.data == [b"0"]


def test_abort_drops_what_waits(loop, tmp_path):
    path = str(tmp_path / "slow")
    before = idle(loop)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(path)
        transport, protocol = endpoint(loop, local_addr=path + "2", family=socket.AF_UNIX)
        for number in range(1500):
            transport.sendto(b"%d" % number, path)
        blocked(loop, transport)
        transport.abort()
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert run(loop, protocol.lost) is None
        assert protocol.events.count("lost") == 1
        # The one that was waiting for room is cancelled, and lets go of the socket.
        run(loop, until(lambda: in_flight(loop) == before))
        there.setblocking(False)
        received = []
        with contextlib.suppress(BlockingIOError):
            while True:
                received.append(int(there.recv(10)))
        assert received == list(range(len(received))) and len(received) < 1500


def test_sending_after_the_end_is_dropped_and_then_warned_about(loop, caplog):
    server, _ = endpoint(loop)
    transport, _ = endpoint(loop, remote_addr=name(server))
    closed(loop, transport)
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(4):
            transport.sendto(b"x")
        assert not caplog.records
        for _ in range(50):
            transport.sendto(b"x")
        assert [record.getMessage() for record in caplog.records] == ["socket.send() raised exception."]
    closed(loop, server)


def test_transport_that_nobody_refers_to_goes_on(loop):
    transport, protocol = endpoint(loop, Echo)
    reference, received, address = weakref.ref(protocol), protocol.received, name(transport)
    transport_reference = weakref.ref(transport)
    turns(loop)
    del transport, protocol
    gc.collect()
    with udp() as sock:
        sock.sendto(b"x", address)
        run(loop, until(lambda: received))
        turns(loop)
        assert sock.recv(10) == b"x"
    transport_reference().close()
    turns(loop)
    gc.collect()
    assert reference() is None and transport_reference() is None


def test_loop_is_closed_under_a_receive(loop):
    transport, protocol = endpoint(loop)
    reference, address = weakref.ref(protocol), name(transport)
    turns(loop)
    with udp() as sock:
        sock.sendto(b"x", address)
        del transport, protocol
        with unclosed():
            loop.close()
    assert reference() is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(address)


def test_loop_is_closed_under_a_send(loop):
    with unix_pair() as (here, _):
        transport, protocol = endpoint(loop, sock=here)
        reference = weakref.ref(protocol)
        for _number in range(1500):
            transport.sendto(b"x")
        blocked(loop, transport)
        del transport, protocol
        with unclosed():
            loop.close()
        assert reference() is None and here.fileno() == -1


def test_loop_is_closed_with_something_held(loop):
    transport, protocol = endpoint(loop)
    transport.pause_reading()
    with udp() as sock:
        sock.sendto(b"x", name(transport))
        turns(loop)
        transport.resume_reading()
    del transport, protocol
    with unclosed():
        loop.close()
