"""An echo server on any of the event loops, by any of asyncio's ways to serve.

Every kind is written as its users would write it, the same for all loops. It prints `listening on ADDRESS` and serves
until SIGINT or SIGTERM ends the process.
"""

import argparse
import asyncio
import socket
import ssl

from common import ADDRESS, BACKLOG, LOOPS, announce, for_ever, run
from file_libraries import LIBRARIES
from file_work import begin_reading

READ_SIZE = 65536


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class InquisitiveEcho(Echo):
    """Asks about each connection what HTTP servers ask: uvicorn all four, aiohttp the first three."""

    def connection_made(self, transport):
        self.transport = transport
        self.socket = transport.get_extra_info("socket")
        self.peername = transport.get_extra_info("peername")
        self.sslcontext = transport.get_extra_info("sslcontext")
        self.sockname = transport.get_extra_info("sockname")


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


PROTOCOLS = {"protocol": Echo, "inquisitive": InquisitiveEcho, "buffered": BufferedEcho}
KINDS = (*PROTOCOLS, "streams", "sock", "unix", "udp", "tls")


async def serve(options):
    loop = asyncio.get_running_loop()
    if options.reading:
        await begin_reading(LIBRARIES[options.reading](), options.folder)
    if options.kind == "udp":
        transport, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=ADDRESS)
        announce(transport.get_extra_info("socket"))
        await for_ever()
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
        server = await loop.create_server(PROTOCOLS[options.kind], *ADDRESS, backlog=BACKLOG)
    announce(server.sockets[0])
    await for_ever()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=LOOPS, required=True)
    parser.add_argument("--kind", choices=KINDS, default="protocol")
    parser.add_argument("--reading", choices=LIBRARIES, help="64 tasks read 4 KiB at random meanwhile, by this library")
    parser.add_argument("--folder", help="of the file that they read")
    parser.add_argument("--unix", metavar="PATH", help="where --kind unix listens")
    parser.add_argument("--certificate", metavar="FILE", help="for --kind tls")
    parser.add_argument("--key", metavar="FILE", help="for --kind tls")
    options = parser.parse_args()
    if options.kind == "unix" and not options.unix:
        parser.error("--kind unix needs --unix PATH")
    if options.kind == "tls" and not options.certificate:
        parser.error("--kind tls needs --certificate FILE")
    run(options.loop, serve(options))


if __name__ == "__main__":
    main()
