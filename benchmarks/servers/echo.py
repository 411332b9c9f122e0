"""An echo server on any of the event loops, by any of asyncio's ways to serve.

Every kind is written as its users would write it, the same for all loops. It prints `listening on ADDRESS` and serves
until SIGINT or SIGTERM ends the process.
"""

import argparse
import asyncio
import signal
import socket
import ssl
import sys

ADDRESS = ("127.0.0.1", 0)  # any port
READ_SIZE = 65536
BACKLOG = 4096


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = memoryview(bytearray(READ_SIZE))

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        # A copy: the buffer is filled anew, and a transport may keep what it could not send at once.
        self.transport.write(bytes(self.buffer[:count]))


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def echo_stream(reader, writer):
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.close()


async def echo_socket(loop, connection):
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := await loop.sock_recv(connection, READ_SIZE):
                await loop.sock_sendall(connection, data)
        except ConnectionError:
            pass


async def accept_sockets(loop, listener):
    tasks = set()  # the loop itself keeps only weak references
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        task = loop.create_task(echo_socket(loop, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def announce(sock):
    name = sock.getsockname()
    print(f"listening on {name}" if isinstance(name, str) else f"listening on {name[0]}:{name[1]}", flush=True)


async def serve(options):
    loop = asyncio.get_running_loop()
    server = None
    if options.kind == "udp":
        transport, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=ADDRESS)
        announce(transport.get_extra_info("socket"))
    elif options.kind == "sock":
        listener = socket.create_server(ADDRESS, backlog=BACKLOG)
        listener.setblocking(False)
        announce(listener)
        await accept_sockets(loop, listener)
    elif options.kind == "streams":
        server = await asyncio.start_server(echo_stream, *ADDRESS, backlog=BACKLOG)
    elif options.kind == "unix":
        server = await loop.create_unix_server(Echo, options.unix, backlog=BACKLOG)
    elif options.kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        server = await loop.create_server(Echo, *ADDRESS, backlog=BACKLOG, ssl=context)
    else:
        protocol = {"protocol": Echo, "buffered": BufferedEcho}[options.kind]
        server = await loop.create_server(protocol, *ADDRESS, backlog=BACKLOG)
    if server is not None:
        announce(server.sockets[0])
    # Not serve_forever(): rloop stops listening when a server that serves is told so again.
    await loop.create_future()


def loop_factory(name):
    if name == "asyncio":
        return asyncio.new_event_loop
    return __import__(name).new_event_loop


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "rloop", "ioring"), required=True)
    parser.add_argument(
        "--kind", choices=("protocol", "buffered", "streams", "sock", "unix", "udp", "tls"), default="protocol"
    )
    parser.add_argument("--unix", metavar="PATH", help="where --kind unix listens")
    parser.add_argument("--certificate", metavar="FILE", help="for --kind tls")
    parser.add_argument("--key", metavar="FILE", help="for --kind tls")
    options = parser.parse_args()
    if options.kind == "unix" and not options.unix:
        parser.error("--kind unix needs --unix PATH")
    if options.kind == "tls" and not options.certificate:
        parser.error("--kind tls needs --certificate FILE")
    # The same end in every loop, whatever it does with signals.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        runner.run(serve(options))


if __name__ == "__main__":
    sys.exit(main())
