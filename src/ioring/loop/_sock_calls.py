"""loop.sock_*: each call makes a request, to be awaited once; what requests do is in _sock_requests.py."""

import socket
import ssl

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize

from ioring.ring.sockaddr import KNOWN, encode_for


def _check(loop, sock):
    """Raises TypeError or ValueError if a socket cannot be used for these calls."""
    if type(sock) is not socket.socket:
        if isinstance(sock, ssl.SSLSocket):
            raise TypeError("Socket cannot be of type SSLSocket")
        sock.fileno()  # raises if it is not a socket at all
    if loop._debug and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")
    return 0


def _set_up(request, loop, sock):
    """The last step in making a request: from now on it has to be awaited."""
    _check(loop, sock)
    request.sock = sock
    request.loop = loop
    return request


def _size(size, name):
    """Checks a size that is asked for, as the socket module does."""
    if size < 0:
        raise ValueError(f"negative buffersize in {name}")
    return size


class SocketCalls(Leftovers):
    """A loop with the ``sock_*`` calls. Each returns an object to be awaited once.

    Families of addresses that only the socket module knows are left to its own calls: heirs have the hooks for that.
    """

    def _by_module(self, sock, until_ready, method, *arguments):
        """sock.method(*arguments), after as many calls of until_ready(fd) as it takes until it does not block."""
        raise NotImplementedError

    def _until_readable(self, fd):
        raise NotImplementedError

    def _until_writable(self, fd):
        raise NotImplementedError

    def sock_recv(self, sock, nbytes):
        """Receives at most ``nbytes`` bytes (``loop.sock_recv``): of a stream about 64 KiB at a time, or a datagram."""
        request: Receive = Receive.__new__(Receive)
        request.length = min(_size(nbytes, "recv"), 0x7FFFFFFF)
        if request.length > self.buffers.buffer_size and sock.type != socket.SOCK_STREAM:
            # What does not fit of a datagram would be lost.
            request.room = PyBytes_FromStringAndSize(cython.NULL, request.length)
        return _set_up(request, self, sock)

    def sock_recv_into(self, sock, buf):
        """Receives into a buffer; returns how many bytes (``loop.sock_recv_into``)."""
        request: ReceiveInto = ReceiveInto.__new__(ReceiveInto)
        request.hold(buf, True)
        return _set_up(request, self, sock)

    def sock_sendall(self, sock, data):
        """Sends all bytes (``loop.sock_sendall``). They must not change until that is done."""
        request: SendAll = SendAll.__new__(SendAll)
        request.hold(data, False)
        return _set_up(request, self, sock)

    def sock_recvfrom(self, sock, bufsize):
        """Receives one datagram; returns bytes and address (``loop.sock_recvfrom``)."""
        request: ReceiveFrom = ReceiveFrom.__new__(ReceiveFrom)
        request.room = bytearray(_size(bufsize, "recvfrom"))
        if sock.family not in KNOWN:
            _check(self, sock)
            return self._by_module(sock, self._until_readable, "recvfrom", bufsize)
        request.hold(request.room, True)
        return _set_up(request, self, sock)

    def sock_recvfrom_into(self, sock, buf, nbytes=0):
        """Receives one datagram into a buffer; returns its length and address (``loop.sock_recvfrom_into``)."""
        size: cython.Py_ssize_t = _size(nbytes, "recvfrom_into")
        request: ReceiveFrom = ReceiveFrom.__new__(ReceiveFrom)
        request.into = True
        request.hold(buf, True)
        if size > request.view.len:
            raise ValueError("nbytes is greater than the length of the buffer")
        if sock.family not in KNOWN:
            _check(self, sock)
            return self._by_module(sock, self._until_readable, "recvfrom_into", buf, size)
        if size:
            request.view.len = size
        return _set_up(request, self, sock)

    def sock_sendto(self, sock, data, address):
        """Sends one datagram; returns how many bytes (``loop.sock_sendto``). A host's name is looked up at once."""
        request: SendTo = SendTo.__new__(SendTo)
        request.value = encode_for(sock.family, address)
        if request.value is None:
            _check(self, sock)
            return self._by_module(sock, self._until_writable, "sendto", data, address)
        request.hold(data, False)
        return _set_up(request, self, sock)

    def sock_accept(self, sock):
        """Accepts a connection; returns a socket and the peer's address (``loop.sock_accept``)."""
        return _set_up(Accept.__new__(Accept), self, sock)


def connect(loop, sock, name, address):
    """Connects a socket to an address; ``name`` is the same as a struct sockaddr."""
    request: Connect = Connect.__new__(Connect)
    request.name = name
    request.value = None if sock.family == socket.AF_UNIX else address
    return _set_up(request, loop, sock)
