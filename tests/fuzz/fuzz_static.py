"""Asks for files of a folder as a fuzzer likes: python fuzz_static.py [libFuzzer's options].

A request is a line with the path and lines of headers: ranges and conditions. A server in another thread answers it
through a socket. What may be answered is worked out a second time here, slowly and by the grammar (RFC 9110, sections
13 and 14): where a header is none by its grammar, either reading of it is right, but never other bytes than the file's.
test_fuzz.py runs it.
"""

import calendar
import os
import random
import re
import socket
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ioring.http.conditional", "ioring.http.folder", "ioring.http.static"]):
    import ioring
    from http_servers import Running

AGO = 1_000_000_000
PARTS_MAX = 16
SECRET = b"this is secret"
SMALL, LARGE = b"0123456789" * 10, random.Random(1).randbytes(200_000)
FILES = {b"small": SMALL, b"large": LARGE, b"empty": b"", b"a b%": b"odd name", b"index.html": b"<p>index</p>"}
TREE = {**FILES, b"sub": {b"index.html": b"sub", b"inner": SMALL, b"back": SMALL, b"bare": {}}, b"link": SMALL}
"""Files are bytes, folders dicts; what leads out of the folder, or is neither, is as if it were not there."""

NAMES = (b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
TAG = rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAGS = re.compile(rb"[ \t]*%b[ \t]*(?:,[ \t]*%b[ \t]*)*" % (TAG, TAG))
DATE = re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] [12]\d{3} \d\d:\d\d:\d\d GMT")


def make_folder(outer):
    folder = outer / "public"
    (folder / "sub" / "bare").mkdir(parents=True)
    for name, content in FILES.items():
        (folder / os.fsdecode(name)).write_bytes(content)
    (folder / "sub" / "index.html").write_bytes(b"sub")
    (folder / "sub" / "inner").write_bytes(SMALL)
    (folder / "sub" / "back").symlink_to("../small")
    (folder / "link").symlink_to("small")
    (outer / "secret").write_bytes(SECRET)
    for name, target in (("out", "../secret"), ("up", ".."), ("root", "/"), ("absolute", outer / "secret")):
        (folder / name).symlink_to(target)
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    for path in (*folder.rglob("*"), folder):
        if not path.is_symlink():
            os.utime(path, (AGO, AGO))
    return folder


# What may be answered.


def found(target):
    """What a target leads to: bytes, a dict (its slash is missing), or None."""
    path = target.partition(b"?")[0]
    path = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), path)
    place = TREE
    # RFC 3986, section 5.2.4, one step of it after the other; and several slashes count as one.
    path = re.sub(rb"/+", b"/", path)
    while path.startswith(b"/") and (step := re.search(rb"/\.(?=/|$)", path)):
        path = path[: step.start()] + (path[step.end() :] or b"/")
    while path.startswith(b"/") and (step := re.search(rb"(?:/[^/]+)?/\.\.(?=/|$)", path)):
        path = path[: step.start()] + (path[step.end() :] or b"/")
    segments = path.split(b"/")[1:]
    for at, segment in enumerate(segments):
        if not isinstance(place, dict):
            return None
        if segment == b"" and at == len(segments) - 1:
            place = place.get(b"index.html")
        else:
            place = place.get(segment)
        if place is None:
            return None
    return place


def tagged(value, etag, weak):
    """The truth values that a list of tags may have."""
    if value == b"*":
        return {True}
    if not TAGS.fullmatch(value):
        return {True, False}
    return {any(each == etag or (weak and each == b"W/" + etag) for each in re.findall(TAG, value))}


def seconds_of(value):
    """Those of a date as it should be; None of all else."""
    try:
        if DATE.fullmatch(value):
            return calendar.timegm(time.strptime(value.decode(), "%a, %d %b %Y %H:%M:%S GMT"))
        return None
    except ValueError:
        return None


def later(value, than):
    """Whether `than` is later than a date."""
    seconds = seconds_of(value)
    return {True, False, None} if seconds is None else {than > seconds}


def statuses(headers, etag):
    """What conditions may make of a request: 412, 304, 200."""
    results = set()
    if b"if-match" in headers:
        goes_on = tagged(headers[b"if-match"], etag, False)
    else:
        goes_on = {True}
        if b"if-unmodified-since" in headers:
            goes_on = {one is not True for one in later(headers[b"if-unmodified-since"], AGO)}
    if False in goes_on:
        results.add(412)
    if True in goes_on:
        same = {False}
        if b"if-none-match" in headers:
            same = tagged(headers[b"if-none-match"], etag, True)
        elif b"if-modified-since" in headers:
            same = {one is False for one in later(headers[b"if-modified-since"], AGO)}
        results |= {304 if one else 200 for one in same}
    return results


def whole_or_parts(headers, etag, size):
    """The answers to a request for ranges that are right: None for the whole file, or a tuple of parts."""
    value = headers.get(b"range")
    if value is None:
        return {None}
    results = set()
    condition = headers.get(b"if-range")
    if condition is not None and condition != etag:
        seconds = seconds_of(condition)
        if re.fullmatch(TAG, condition) or (seconds is not None and seconds != AGO):
            return {None}
        if seconds is None:
            results.add(None)
    plain = re.sub(rb"[ \t]", b"", value)
    if plain != value:
        results.add(None)  # white space is allowed around commas alone
    unit, equals, text = plain.partition(b"=")
    items = text.split(b",")
    ranges = [re.fullmatch(rb"(\d*)-(\d*)", item) for item in items if item]
    if unit.lower() != b"bytes" or not equals or not ranges or not all(ranges):
        return {None}
    if len(items) > PARTS_MAX:
        return {None}
    parts = []
    for first, last in (each.groups() for each in ranges):
        if len(first) > 18 or len(last) > 18:
            return {None}
        if first and last and int(last) < int(first):
            return {None}
        if not first and not last:
            return {None}
        wanted = range(int(first), int(last) + 1 if last else size) if first else range(max(size - int(last), 0), size)
        begin, end = max(wanted.start, 0), min(wanted.stop, size)
        if begin < end:
            parts.append((begin, end))
    if sum(end - begin for begin, end in parts) > size:
        return {None}
    return results | {tuple(parts)}


# What is answered.


class Client:
    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=20)
        self.data = b""

    def more(self):
        part = self.socket.recv(1 << 18)
        assert part, "the server closes the connection"
        self.data += part

    def ask(self, method, target, lines):
        self.socket.sendall(b"\r\n".join((method + b" " + target + b" HTTP/1.1", b"Host: a", *lines, b"", b"")))
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        status = int(first.split()[1])
        size = 0 if method == b"HEAD" or status == 304 else int(headers[b"content-length"])
        while len(self.data) < size:
            self.more()
        body, self.data = self.data[:size], self.data[size:]
        return status, headers, body


def parts_of(headers, body):
    """Pairs of what a part says of itself and its bytes."""
    kind = headers[b"content-type"]
    if not kind.startswith(b"multipart/byteranges; boundary="):
        return [(headers[b"content-range"], body)]
    boundary = b"--" + kind.partition(b"=")[2]
    # Parts are cut by their own lengths: a file may have anything in it.
    parts = []
    while not body.startswith(boundary + b"--"):
        head, _, body = body.removeprefix(boundary + b"\r\n").partition(b"\r\n\r\n")
        given = re.search(rb"content-range: (bytes (\d+)-(\d+)/\d+)", head)
        size = int(given[3]) - int(given[2]) + 1
        parts.append((given[1], body[:size]))
        assert body[size : size + 2] == b"\r\n"
        body = body[size + 2 :]
    assert body == boundary + b"--\r\n"
    return parts


def check(data):
    first, *rest = data.split(b"\n")
    method = b"HEAD" if first.startswith(b"H") else b"GET"
    target = b"/" + re.sub(rb"[^\x21-\x22\x24-\x7e]", b"", first.lstrip(b"H"))
    headers = {}
    for line in rest:
        place, _, value = line.partition(b":")
        value = re.sub(rb"[\0-\x08\x0a-\x1f\x7f]", b"", value).strip(b" \t")
        if place.isdigit() and value:
            name = NAMES[int(place[-1:]) % len(NAMES)]
            headers[name] = value
    content = found(target)
    if isinstance(content, bytes):
        etag = etag_of(target)
        headers = {name: value.replace(b"ETAG", etag) for name, value in headers.items()}
    status, answered, body = check.client.ask(method, target, [b"%b: %b" % pair for pair in headers.items()])
    assert SECRET not in body
    assert not check.server.complaints, check.server.complaints
    if content is None:
        assert status == 404, (status, target)
        return
    if isinstance(content, dict):
        assert status == 308, (status, target)
        _, mark, query = target.partition(b"?")
        location = answered[b"location"]
        assert location.startswith(b"/") and not location.startswith(b"//")
        assert location.endswith(b"/" + mark + query)
        return
    known = (method, target, headers, status, answered)
    right = statuses(headers, etag)
    size = len(content)
    forms = whole_or_parts(headers, etag, size) if method == b"GET" else {None}
    if status in (304, 412):
        assert status in right, known
        return
    assert 200 in right, known
    if status == 200:
        assert None in forms, (known, forms)
        assert body == content or method == b"HEAD"
        assert answered[b"content-length"] == b"%d" % size
    elif status == 416:
        assert () in forms, (known, forms)
        assert answered[b"content-range"] == b"bytes */%d" % size
    else:
        assert status == 206, known
        parts = parts_of(answered, body)
        assert len(parts) <= PARTS_MAX
        said = tuple(tuple(int(each) for each in re.findall(rb"\d+", name)) for name, _ in parts)
        assert tuple((begin, end + 1) for begin, end, _ in said) in forms, (known, forms)
        for (begin, end, whole), (_, part) in zip(said, parts, strict=True):
            assert part == content[begin : end + 1]
            assert whole == size


def etag_of(target):
    path = target.partition(b"?")[0]
    if path not in check.etags:
        check.etags[path] = check.client.ask(b"HEAD", path, [])[1][b"etag"]
    return check.etags[path]


# What is asked.

PIECES = (
    *(b"small", b"large", b"empty", b"a%20b%25", b"index.html", b"sub", b"inner", b"back", b"bare", b"link", b"out"),
    *(b"up", b"root", b"loop", b"fifo", b"absolute", b"secret", b"etc/passwd", b"%2e%2e", b"..", b".", b"%2f", b"/"),
    *(b"%00", b"%5c", b"%", b"%zz", b"?a=b", b"%ff", b"//", b"%252e", b"x" * 300),
)
PATHS = (b"small", b"large", b"large", b"empty", b"sub/", b"sub/inner", b"sub/back", b"link", b"", b"sub")
POSITIONS = (
    b"",
    b"0",
    b"1",
    b"5",
    b"9",
    b"50",
    b"99",
    b"100",
    b"101",
    b"1000",
    b"199999",
    b"200000",
    b"9" * 18,
    b"9" * 19,
)
DATES = (b"Sun, 09 Sep 2001 01:46:40 GMT", b"Sun, 09 Sep 2001 01:46:39 GMT", b"Sun, 09 Sep 2001 01:46:41 GMT")
ODD_DATES = (
    b"Sunday, 09-Sep-01 01:46:40 GMT",
    b"Sun Sep  9 01:46:40 2001",
    b"yesterday",
    b"Sun, 99 Sep 2001 01:46:40 GMT",
)
ODD = (
    b",",
    b" ",
    b"-",
    b"=",
    b"\t",
    b";",
    b'"',
    b"W/",
    b"*",
    b"0",
    b"+1",
    b"-1",
    b"\xb2",
    b"bytes",
    b"BYTES",
    b"items",
)


def value_for(chance, name):
    if name == b"range":
        count = chance.choice((1, 1, 1, 2, 3, PARTS_MAX, PARTS_MAX + 1))
        items = [chance.choice(POSITIONS) + b"-" + chance.choice(POSITIONS) for _ in range(count)]
        return chance.choice((b"bytes=", b"bytes=", b"bytes=", b"Bytes = ", b"lines=")) + chance.choice(
            (b",", b", ")
        ).join(items)
    if name.endswith(b"since") or (name == b"if-range" and chance.random() < 0.5):
        return chance.choice(DATES + DATES + ODD_DATES)
    tags = chance.choices((b"ETAG", b"W/ETAG", b'"other"', b'""', b"*", b'W/"x,y"'), k=chance.choice((1, 1, 2, 3)))
    return b", ".join(tags)


def mutate(data, size_max, seed):
    chance = random.Random(seed)
    if chance.random() < 0.2:
        return atheris.Mutate(data, size_max)
    path = chance.choice(PATHS)
    if chance.random() < 0.3:
        path = b"/".join(chance.choices(PIECES, k=chance.randrange(1, 5)))
    lines = [chance.choice((b"", b"", b"", b"H")) + path]
    for at in chance.sample(range(len(NAMES)), chance.choice((0, 1, 1, 2, 3))):
        value = value_for(chance, NAMES[at])
        while chance.random() < 0.2:
            place = chance.randrange(len(value) + 1)
            value = value[:place] + chance.choice(ODD) + value[place + chance.randrange(2) :]
        lines.append(b"%d:%b" % (at, value))
    return b"\n".join(lines)[:size_max]


def main():
    with tempfile.TemporaryDirectory() as outer, Running(make_folder(Path(outer)), ioring.Loop) as server:
        check.server, check.client, check.etags = server, Client(server.address), {}
        atheris.Setup(sys.argv, check, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
