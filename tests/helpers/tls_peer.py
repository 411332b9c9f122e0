"""For tests of TLS: certificates, protocols that keep what they are told, and a peer that acts record by record."""

import asyncio
import contextlib
import socket
import ssl
import subprocess

import needed


class Certificates:
    """A certificate for localhost that signs itself, and contexts that use and trust it."""

    def __init__(self, folder):
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        request = (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost "
            "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        )
        files = ("-keyout", str(self.key), "-out", str(self.certificate))
        subprocess.run([needed.program("openssl"), *request.split(), *files], check=True, capture_output=True)

    def server(self, version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return _only(context, version)

    def client(self, version=None):
        return _only(ssl.create_default_context(cafile=self.certificate), version)


def _only(context, version):
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Peer:
    """The other side of a connection, on the same loop: TLS over sock_recv and sock_sendall, by hand."""

    def __init__(self, loop, sock, context, *, server_side=False):
        self.loop = loop
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side, server_hostname=name)

    async def flush(self):
        if self.outgoing.pending:
            await self.loop.sock_sendall(self.sock, self.outgoing.read())

    async def until_done(self, method, *arguments):
        """What a method of the TLS object returns, once it has got what it wants from the other side."""
        while True:
            try:
                result = method(*arguments)
            except ssl.SSLWantReadError:
                await self.flush()
                data = await self.loop.sock_recv(self.sock, 65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            else:
                await self.flush()
                return result

    async def handshake(self):
        await self.until_done(self.tls.do_handshake)
        return self

    def seal(self, data):
        """A record."""
        self.tls.write(data)
        return self.outgoing.read()

    async def send(self, data):
        await self.loop.sock_sendall(self.sock, self.seal(data))

    async def recv(self, count=65536):
        """Data, or b"" when the other side said that there is no more."""
        return await self.until_done(self.tls.read, count)

    async def recv_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            chunk = await self.recv(count - len(data))
            assert chunk, f"{len(data)} bytes of {count}"
            data += chunk
        return bytes(data)

    def say_end(self):
        """close_notify, as bytes."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def close(self):
        """Says the end and hears it."""
        await self.until_done(self.tls.unwrap)
        self.sock.close()


async def connect_raw(loop, address):
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, address)
    return sock


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self, loop):
        self.loop = loop
        self.events = []
        self.chunks = []
        self.wanted = None
        self.made = loop.create_future()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")
        self.made.set_result(transport)

    def data_received(self, data):
        self.chunks.append(bytes(data))
        if self.wanted is not None and sum(map(len, self.chunks)) >= self.wanted[0]:
            self.wanted[1].set_result(None)
            self.wanted = None

    def eof_received(self):
        self.events.append("eof")

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, exception):
        self.events.append("lost")
        self.lost.set_result(exception)

    @property
    def data(self):
        return b"".join(self.chunks)

    async def received(self, count):
        """All data, once there are so many bytes."""
        if sum(map(len, self.chunks)) < count:
            self.wanted = (count, self.loop.create_future())
            await self.wanted[1]
        return self.data


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer of its own, smaller than a record."""

    def __init__(self, loop, size=1000):
        super().__init__(loop)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.data_received(self.buffer[:count])


async def serve(loop, factory, context, **options):
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context, **options)
    return server, server.sockets[0].getsockname()


async def accepted(loop, certificates, factory, version=None, **options):
    """A protocol of a server, and the Peer that is connected with it."""
    protocol = factory(loop)
    server, address = await serve(loop, lambda: protocol, certificates.server(version), **options)
    peer = Peer(loop, await connect_raw(loop, address), certificates.client(version))
    await peer.handshake()
    await protocol.made
    server.close()
    return protocol, peer


async def pair(loop, certificates, factory=Recorder, version=None, contexts=None):
    """Two protocols, both on this loop: the client's and the server's."""
    client, server_side = contexts or (certificates.client(version), certificates.server(version))
    theirs = factory(loop)
    server, address = await serve(loop, lambda: theirs, server_side)
    _, ours = await loop.create_connection(lambda: factory(loop), *address, ssl=client, server_hostname="localhost")
    await theirs.made
    server.close()
    return ours, theirs


async def end(*protocols):
    for protocol in protocols:
        protocol.transport.close()
    return [await protocol.lost for protocol in protocols]
