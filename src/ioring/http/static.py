"""Files over HTTP: as a server's application, below a prefix beside another one, and as an ASGI application."""

import asyncio
import http
import os
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

from ioring.http._asgi import PATHSEND, AsgiExchange
from ioring.http._exchange import Exchange
from ioring.http._mounts import Mounts
from ioring.http._response_cache import Answer, Answers
from ioring.http.asgi_types import Receive, Scope, Send
from ioring.http.conditional import Headers, coding_of, precondition, ranges_of
from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.extra_headers import pairs_of
from ioring.http.folder import Folder, Found, Instead, Page, Redirect, Variant, resolved
from ioring.http.open_file_cache import Kept, given_up, kept_of, with_room
from ioring.http.sendfile import File, Part, Sending, sent

VALID_S = 1.0
"""For this long a file is served without looking whether it has changed."""

COUNT_MAX = 4096
HELD_MAX = 32 << 20
"""At most this many files, and bytes of them, are remembered; others are looked up for each request."""

LITERAL = "!$&'()*+,/:;=@[\\]|"
"""Characters that browsers do not percent-encode in a path, besides those that `quote` never encodes."""

PIECE = 1 << 18
"""Bytes of a file in one ASGI message, on other servers."""


class Reply:
    """What is answered: ``parts`` are bytes, and pairs of offset and size of the file; ``size`` is all of it."""

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        parts: Sequence[Part],
        size: int,
        file: File | None = None,
    ) -> None:
        self.status = status
        self.headers = [*headers, (b"content-length", b"%d" % size)] if status not in (304,) else headers
        self.parts = parts
        self.size = size
        self.file = file

    def body(self) -> bytes:
        """All of the content of a reply without a file."""
        return b"".join(part for part in self.parts if isinstance(part, bytes))


def plain(status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> Reply:
    """A reply with the name of its status."""
    body = f"{http.HTTPStatus(status).phrase}\n".encode()
    return Reply(status, [(b"content-type", b"text/plain; charset=utf-8"), *headers], [body], len(body))


class Files:
    """Answers requests for the files of a folder.

    Parameters:
        folder: a ``Folder``.
        prefix: the part of each path before the folder's, such as ``"/static"``.
        root_path: what a proxy has taken off all paths.
    """

    def __init__(self, folder: Folder, prefix: str = "", root_path: str = "") -> None:
        self.folder = folder
        self.prefix = prefix.encode()
        self.before = root_path.encode() + self.prefix
        self.answers = Answers(self.answer, COUNT_MAX, HELD_MAX)
        self._kept: Kept | None = None  # where those are known that are open
        self._root_checked = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Closes what is open."""
        self._clear()
        self.folder.close()

    def _clear(self) -> None:
        self.answers.clear()
        if self._kept is not None:
            self._kept.forget(self)

    # Requests to our server.

    def answer(self, exchange: Exchange, raw: bytes) -> None:
        """Answers a request whose Answer is not ready; ``raw`` is its path, as it was received."""
        path = resolved(urllib.parse.unquote_to_bytes(raw[len(self.prefix) :]))
        loop = exchange.service.loop
        key = self.prefix + spelled(path)
        try:
            if exchange.method not in ("GET", "HEAD"):
                start(exchange, plain(405, [(b"allow", b"GET, HEAD")]))
                return
            try:
                found, answer = self.find_cached(loop, key, path)
            except BlockingIOError:
                task = loop.create_task(self._answer_from_disk(exchange, raw, key, path))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return
            start(exchange, self._reply(exchange, raw, path, found, answer))
        except Exception as error:
            self.failed(exchange, error)

    async def _answer_from_disk(self, exchange: Exchange, raw: bytes, key: bytes, path: bytes) -> None:
        try:
            found, answer = await self.find(exchange.service.loop, key, path)
            if not exchange.finished:
                start(exchange, self._reply(exchange, raw, path, found, answer))
        except Exception as error:
            self.failed(exchange, error)

    def _reply(self, exchange: Exchange, raw: bytes, path: bytes, found: Any, answer: Answer | None) -> Reply:
        query = exchange.target[len(raw) :]
        return self.reply(exchange.method, exchange.headers, found, answer, self.before + path, query)

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Answers that there is an error; a response that has begun is cut off."""
        if exchange.finished:
            return
        exchange.service.trouble(exchange, f"the file cannot be sent: {error}", told(error))
        exchange.refuse(503 if isinstance(error, OSError) else 500)

    # Finding.

    def find_cached(self, loop: asyncio.AbstractEventLoop, key: bytes, path: bytes) -> tuple[Any, Answer | None]:
        """What there is at a path, and its Answer or None, if that is known without waiting for a disk.

        Parameters:
            key: what the Answer is remembered by.
            path: decoded, below the folder.

        Raises:
            BlockingIOError: `find` has to be called.
            OSError: it cannot be found out.
        """
        now = loop.time()
        if now > self._root_checked + VALID_S:
            self._root_checked = now
            if self.folder.moved():
                self._clear()
        answer = self.answers.get(key)
        known = None
        if answer is not None:
            answer.used = True
            known = answer.found
            if now < answer.valid_until:
                return known, answer
        found = with_room(loop, self.look, known, path, True)
        return found, self.remember(loop, key, found)

    async def find(self, loop: asyncio.AbstractEventLoop, key: bytes, path: bytes) -> tuple[Any, Answer | None]:
        """The same in a thread, which may wait for a disk."""
        answer = self.answers.get(key)
        known = None if answer is None else answer.found
        # The thread holds on to the result of its function for a while, but files are to be closed with the last
        # reference to them: so they are put here.
        results: list[Any] = []

        def look() -> None:
            results.append(self.look(known, path, False))

        try:
            await loop.run_in_executor(None, look)
        except OSError as error:
            if not given_up(loop, error):
                raise
            error.__traceback__ = None  # it holds files that were opened before the one for which there was no room
            await loop.run_in_executor(None, look)
        found = results.pop()
        return found, self.remember(loop, key, found)

    def look(self, known: Found | None, path: bytes, cached: bool) -> Found | Page | Redirect | Instead | None:
        if known is not None and self.folder.unchanged(known, cached):
            return known
        found = self.folder.find(path, cached)
        return self.folder.instead(path, cached) if found is None else found

    def remember(self, loop: asyncio.AbstractEventLoop, key: bytes, found: object) -> Answer | None:
        """Makes an answer that is ready, or renews the one that is there."""
        answer = self.answers.get(key)
        if not isinstance(found, Found):
            if answer is not None:
                self.answers.drop(key)
                self._keep(loop, key, 0)
            return None
        if answer is not None and answer.found is found:
            answer.valid_until = loop.time() + VALID_S
            return answer
        # A part is counted twice: small bodies are kept with their heads, too.
        until = loop.time() + VALID_S
        if found.others:
            size = 0
            for variant in found.variants():
                if variant.content is not None:
                    # Without what it is made from, which holds it: files are closed with the last reference.
                    content = variant.content
                    variant.answer = Answer(None, head_of(variant), content, 0.0, 2 * len(content))
                    size += variant.answer.size
            answer = Answer(found, None, None, until, size, {})
        elif found.plain.content is not None:
            content = found.plain.content
            answer = Answer(found, head_of(found.plain), content, until, 2 * len(content))
        else:
            answer = Answer(found, None, None, until, 0)
        self.answers.put(key, answer)
        self._keep(loop, key, sum(variant.file is not None for variant in found.variants()))
        return answer

    def _keep(self, loop: asyncio.AbstractEventLoop, key: bytes, count: int) -> None:
        """The answer has ``count`` open files."""
        if count:
            self._kept = kept_of(loop)
        if self._kept is not None:
            self._kept.put(loop, self, key, count)

    # Replies.

    def reply(
        self,
        method: str,
        headers: Iterable[tuple[bytes, bytes]],
        found: Found | Page | Redirect | Instead | None,
        answer: Answer | None,
        path: bytes,
        query: bytes,
    ) -> Reply:
        """The Reply to a request.

        Parameters:
            headers: pairs of bytes, the names in lower case.
            found: what `find` returned, and its answer.
            path: all of the request's, decoded; and its query with the question mark, or nothing.
        """
        if found is None:
            return plain(404)
        if isinstance(found, Instead):
            if found.status == 404:
                return missing(found.found.plain)
            found, answer = found.found, None
        if isinstance(found, Redirect):
            location = urllib.parse.quote(path).encode() + b"/" + query
            return plain(308, [(b"location", location)])
        if isinstance(found, Page):
            kind = (b"content-type", b"text/html; charset=utf-8")
            return Reply(200, [kind, (b"cache-control", b"no-cache")], [found.body], len(found.body))
        wanted = Headers(headers)
        variant = found.plain
        if found.others:
            accepted = wanted.get(b"accept-encoding")
            coding = coding_of(accepted, found.others)
            if coding is not None:
                variant = found.others[coding]
            if variant.answer is not None and answer is not None and answer.choices is not None:
                self.answers.remember(answer, accepted, variant.answer)
        return reply_of(variant, method, wanted)


def start(exchange: Exchange, reply: Reply) -> None:
    """Begins to send a reply."""
    exchange.start(reply.status, reply.headers)
    if exchange.method == "HEAD":
        exchange.write(b"")
    elif reply.file is None:
        exchange.write(reply.body())
    else:
        Sending(exchange, reply.file, reply.parts).start()


def spelled(path: bytes) -> bytes:
    """The one spelling of a decoded path that answers are remembered by: what browsers send.

    Decoding it gives the path, so a request that is spelled like it means nothing else. Who spells a path otherwise is
    answered from the same entry, though not at once.
    """
    return urllib.parse.quote_from_bytes(path, LITERAL).encode()


def reply_of(variant: Variant, method: str, headers: Headers) -> Reply:
    status = precondition(headers, variant.etag, variant.modified)
    if status == 412:
        return plain(412)
    if status == 304:
        # What describes the body is not repeated.
        kept = [pair for pair in variant.headers if not pair[0].startswith((b"content-", b"accept-"))]
        return Reply(304, kept, [], 0)
    size = variant.size
    wanted = ranges_of(headers, variant.etag, variant.modified, size) if method == "GET" else None
    if wanted is None:
        return Reply(200, variant.headers, *body_of(variant, [(0, size)]))
    if not wanted:
        return plain(416, [(b"content-range", b"bytes */%d" % size)])
    if len(wanted) == 1:
        [(offset, count)] = wanted
        given = (b"content-range", b"bytes %d-%d/%d" % (offset, offset + count - 1, size))
        return Reply(206, [*variant.headers, given], *body_of(variant, wanted))
    boundary = os.urandom(12).hex().encode()
    kind = dict(variant.headers)[b"content-type"]
    parts: list[Part] = []
    for offset, count in wanted:
        parts.append(
            b"--%b\r\ncontent-type: %b\r\ncontent-range: bytes %d-%d/%d\r\n\r\n"
            % (boundary, kind, offset, offset + count - 1, size)
        )
        parts.append((offset, count))
        parts.append(b"\r\n")
    parts.append(b"--%b--\r\n" % boundary)
    rest = [pair for pair in variant.headers if pair[0] != b"content-type"]
    multipart = (b"content-type", b"multipart/byteranges; boundary=" + boundary)
    return Reply(206, [multipart, *rest], *body_of(variant, parts))


def missing(variant: Variant) -> Reply:
    """404, with a page for that. It is no file that was asked for: there are no ranges and no conditions."""
    kept = [pair for pair in variant.headers if pair[0] not in (b"etag", b"last-modified", b"accept-ranges")]
    return Reply(404, kept, *body_of(variant, [(0, variant.size)]))


def body_of(variant: Variant, parts: Sequence[Part]) -> tuple[Sequence[Part], int, File | None]:
    """The parts, their size, and the file that they are of; of a file in memory they are bytes."""
    if variant.content is not None:
        content = variant.content
        parts = [part if isinstance(part, bytes) else content[part[0] : part[0] + part[1]] for part in parts]
    size = sum(len(part) if isinstance(part, bytes) else part[1] for part in parts)
    return parts, size, variant.file


def head_of(variant: Variant) -> bytes:
    """The head of the whole of it, without what changes from response to response."""
    lines = [b"HTTP/1.1 200 OK\r\n"]
    lines += [b"%b: %b\r\n" % pair for pair in variant.headers]
    lines.append(b"content-length: %d\r\n" % variant.size)
    return b"".join(lines)


def told(error: Exception) -> Exception | None:
    """The exception to show: what the system says is said by its message."""
    return None if isinstance(error, OSError) else error


class StaticFiles:
    """An ASGI application: the files of a folder.

    On ``ioring serve`` files go from the page cache to the client without passing through Python; other servers are
    given them piece by piece. Nothing outside of the folder can be reached, also not by symbolic links.

    Parameters:
        folder: its path.
        listing: whether folders without index.html are shown.
        cache_max_age: seconds for which clients may keep what they got (``cache-control``), 0: they have to ask each
            time; None: nothing is said of it.
        hidden: whether files and folders are served whose names begin with a dot; ``.well-known`` always is.
        spa: whether index.html is answered where there is no file, unless the name has a dot.
        follow_links: whether symbolic links are followed out of the folder.

    Raises:
        OSError: there is no such folder.
        ValueError: ``cache_max_age`` is negative.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        listing: bool = False,
        cache_max_age: int | None = None,
        hidden: bool = False,
        spa: bool = False,
        follow_links: bool = False,
    ) -> None:
        if cache_max_age is not None and cache_max_age < 0:
            raise ValueError(f"cache_max_age: {cache_max_age} is negative")
        self._files = Files(Folder(folder, listing, cache_max_age, hidden, spa, follow_links))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            return await self._live(receive, send)
        if kind == "websocket":
            await receive()
            return await send({"type": "websocket.close", "code": 1000})
        if kind != "http":
            raise RuntimeError(f"StaticFiles answers HTTP, not {kind!r}")
        files = self._files
        loop = asyncio.get_running_loop()
        root, path = scope.get("root_path", ""), scope["path"]
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
            path = path[len(root) :]
        name = resolved(_bytes_of(path, scope.get("raw_path")))
        exchange = getattr(send, "__self__", None)
        if not isinstance(exchange, AsgiExchange):
            return await send_by_messages(await self._reply(loop, scope, root, name), scope, send)
        try:
            reply = await self._reply(loop, scope, root, name)
            if exchange.finished:
                return None
            exchange.start(reply.status, reply.headers)
            if reply.file is None or scope["method"] == "HEAD":
                exchange.write(reply.body() if scope["method"] != "HEAD" else b"")
                return None
            over = sent(exchange, reply.file, reply.parts)
        except OSError as error:
            return files.failed(exchange, error)
        await over
        return None

    async def _reply(self, loop: asyncio.AbstractEventLoop, scope: Scope, root: str, path: bytes) -> Reply:
        files = self._files
        if scope["method"] not in ("GET", "HEAD"):
            return plain(405, [(b"allow", b"GET, HEAD")])
        try:
            found, answer = files.find_cached(loop, path, path)
        except BlockingIOError:
            found, answer = await files.find(loop, path, path)
        query = scope.get("query_string", b"")
        query = b"?" + query if query else b""
        whole = root.encode("utf-8", "surrogateescape") + path
        return files.reply(scope["method"], scope["headers"], found, answer, whole, query)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def _bytes_of(path: str, raw: bytes | None) -> bytes:
    """A path as it was asked for: what is not UTF-8 in it is in the raw path alone."""
    if raw is not None and "\ufffd" in path:
        raw = urllib.parse.unquote_to_bytes(raw)
        raw = raw[len(raw.rsplit(b"/", path.count("/"))[0]) :]  # the path of what is mounted is the end of it
        if raw.decode("utf-8", "replace") == path:
            return raw
    return path.encode("utf-8", "surrogateescape")


async def send_by_messages(reply: Reply, scope: Scope, send: Send) -> None:
    """Sends a reply by messages."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    if scope["method"] == "HEAD":
        return await send({"type": "http.response.body", "body": b""})
    if reply.file is None:
        return await send({"type": "http.response.body", "body": reply.body()})
    told = (scope.get("extensions") or {}).get("http.response.pathsend")
    if told == PATHSEND and reply.parts == [(0, reply.file.status.st_size)]:
        # Our server opens it before it returns from the call, so that nobody can put another in its place.
        return await send({"type": "http.response.pathsend", "path": f"/proc/self/fd/{reply.file.descriptor}"})
    loop = asyncio.get_running_loop()
    for part in reply.parts:
        if isinstance(part, bytes):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            continue
        offset, size = part
        while size:
            data = in_memory(reply.file.descriptor, min(size, PIECE), offset)
            if not data:
                data = await loop.run_in_executor(None, os.pread, reply.file.descriptor, min(size, PIECE), offset)
            if not data:
                raise OSError(f"the file ended {size} bytes too early: it is shorter than it was")
            offset += len(data)
            size -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
    return await send({"type": "http.response.body", "body": b""})


def in_memory(descriptor: int, size: int, offset: int) -> bytes:
    """Bytes of a file, as far as the kernel has them in memory; none when it would wait for a disk."""
    data = bytearray(size)
    try:
        count = os.preadv(descriptor, [data], offset, os.RWF_NOWAIT)
    except OSError:  # also of file systems that do not know that
        return b""
    return bytes(memoryview(data)[:count])


# What the server is told.


def files_of(path: str, configuration: Configuration, prefix: str = "") -> Files:
    """The Files of a folder, as a configuration wants them.

    Raises:
        ConfigurationError: there is no such folder.
    """
    age = configuration.cache_max_age
    try:
        folder = Folder(
            path,
            configuration.listing,
            None if age < 0 else age,
            configuration.hidden,
            configuration.spa,
            configuration.follow_links,
            [pair for pair in pairs_of(configuration.header) if pair[0] != b"server"],
        )
    except OSError as error:
        what = f"mount {prefix}={path}" if prefix else path
        raise ConfigurationError(f"{what}: {error.strerror}") from None
    return Files(folder, prefix, configuration.root_path)


def mounts_of(configuration: Configuration) -> tuple[list[Files], Mounts | None]:
    """The Files of each mount, and what finds them by a request's target; None when there are none."""
    files = {}
    for mount in configuration.mount:
        prefix, _, path = mount.partition("=")
        files[prefix.rstrip("/")] = files_of(path, configuration, prefix.rstrip("/"))
    if not files:
        return [], None
    longest_first = sorted(files, key=len, reverse=True)
    return list(files.values()), Mounts([(prefix.encode(), files[prefix].answers) for prefix in longest_first])
