"""Requests out of the tests of three HTTP parsers, good and malformed, with what each parser makes of them.

    gunicorn    the files tests/requests/{valid,invalid} of its source distribution, with what is expected beside them
    h11         all that its tests give to a server, or what they make headers and requests of; h11 itself says, when it
                gets the same bytes as a server, what they are
    llhttp      the cases in test/request, which the source distribution of aiohttp has

The first two are collected in a process of its own, `python -m suites.corpora NAME FOLDER`, since foreign modules are
imported for it, and given back as JSON. What is not to be compared, and where we differ on purpose, is in corpora.txt.
"""

import contextlib
import dataclasses
import fnmatch
import functools
import glob
import io
import json
import os
import pathlib
import re
import subprocess
import sys

from .sdist import Sdist

FILE = pathlib.Path(__file__).with_name("corpora.txt")
LIMIT_S = 120

SOURCES = {
    "gunicorn": Sdist(
        "gunicorn",
        "27.0.1",
        "b1514965361c8b7e8107a80aa2a92636878df1ccfac6dd204a676426e04d9e3e",
        folders=("tests", "gunicorn"),
    ),
    "h11": Sdist("h11", "0.16.0", "4e35b956cf45792e4caa5885e69fba00bdbc6ffafbfa020300e549b208ee5ff1", folders=("h11",)),
    "llhttp": Sdist(
        "aiohttp",
        "3.14.5",
        "5558a7f5a05af9ecf744af91e5baefc436f93c9333e656c27ec253f9a6bbe178",
        folders=("vendor/llhttp/test/request",),
    ),
}

VERDICTS = ("accepted", "refused", "differs", "without")


@dataclasses.dataclass
class Case:
    """Bytes that a client sends, and what a server makes of them.

    `messages` are the requests that are whole, as dictionaries with what is known of them: `method`, `body`, `length`
    of the body, `headers`. `bad` is whether an error follows.
    """

    name: str
    data: bytes
    messages: list
    bad: bool


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of corpora.txt: CORPUS VERDICT CASE REASON."""

    corpus: str
    verdict: str
    pattern: str
    reason: str


def lines(corpus):
    found = []
    for text in FILE.read_text(encoding="utf-8").splitlines():
        if text.strip() and not text.startswith("#"):
            line = Line(*text.split(None, 3))
            if line.verdict not in VERDICTS or line.corpus not in SOURCES:
                raise ValueError(f"{FILE.name}: want CORPUS VERDICT CASE REASON, not {text!r}")
            found.append(line)
    return [line for line in found if line.corpus == corpus]


def line_for(case, known):
    for line in known:
        if fnmatch.fnmatchcase(case.name, line.pattern):
            return line
    return None


def cases(corpus):
    """All cases of a corpus.

    Raises:
        Unavailable: they cannot be had.
    """
    source = SOURCES[corpus]
    source.fetch()
    if corpus == "llhttp":
        return llhttp_cases(source.cache / "vendor/llhttp/test/request")
    path = [str(source.cache), str(pathlib.Path(__file__).parents[1]), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-m", "suites.corpora", corpus, str(source.cache)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    found = [Case(**{**entry, "data": entry["data"].encode("latin-1")}) for entry in json.loads(done.stdout)]
    for case in found:
        for message in case.messages:
            message["body"] = message["body"].encode("latin-1")
    return found


# llhttp

META = re.compile(r"^<!-- meta=(.*) -->$", re.M)
LISTING = re.compile(r"^```(http|log)\n(.*?)^```$", re.M | re.S)
SPAN = re.compile(r"off=\d+ len=(\d+) span\[(\w+)\]=\"(.*)\"$")
PAUSES = ("22", "23", "21")
"""Errors that are none: another protocol begins here (of PRI, HTTP/2), or the case asked for a pause."""


def llhttp_cases(folder):
    found = []
    for path in sorted(folder.glob("*.md")):
        for section in re.split(r"^#+ ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            meta, listings = META.search(section), dict(LISTING.findall(section))
            if meta is None or len(listings) < 2:
                continue
            kind = json.loads(meta[1])
            if kind["type"] in ("request", "request-finish") and "pause" not in kind and "skipBody" not in kind:
                name = section.partition("\n")[0].strip().replace(" ", "-")
                found.append(Case(f"{path.stem}/{name}", unescaped(listings["http"]), *read_log(listings["log"])))
    return found


def unescaped(text):
    """The bytes that a listing stands for."""
    data = re.sub(rb"\n\Z", b"", text.encode())
    data = re.sub(rb"\\\n", b"", data)
    data = re.sub(rb"\n", b"\r\n", data)
    named = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"f": b"\f", b"\\": b"\\"}

    def one(match):
        kind = match[1]
        if kind in named:
            return named[kind]
        return bytes([int(kind[1:], 16) if kind.startswith(b"x") else int(kind, 8)])

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[rntf\\])", one, data)


def read_log(log):
    messages, bad, begun = [], False, None
    for line in log.splitlines():
        if line.endswith("message begin"):
            begun = {"method": "", "length": 0}
        elif line.endswith("message complete"):
            messages.append(begun)
        elif match := re.search(r"error code=(\d+)", line):
            bad = match[1] not in PAUSES
        elif (match := SPAN.match(line)) and begun is not None:
            if match[2] == "method":
                begun["method"] += match[3]
            elif match[2] == "body":
                begun["length"] += int(match[1])
    return messages, bad


# gunicorn


def gunicorn_cases(folder):
    sys.path.insert(0, os.path.join(folder, "tests"))
    import treq
    from gunicorn.config import Config

    found, usual = [], {name: setting.get() for name, setting in Config().settings.items()}
    for path in sorted(glob.glob(os.path.join(folder, "tests", "requests", "*", "*.http"))):
        expected = treq.load_py(os.path.splitext(path)[0] + ".py")
        options = {name for name, setting in expected["cfg"].settings.items() if setting.get() != usual[name]}
        kind, name = path.split(os.sep)[-2:]
        name = "+".join([f"{kind}/{name.removesuffix('.http')}", *sorted(options - {"http_parser"})])
        messages = []
        if kind == "valid":
            request = treq.request(path, expected["request"])
            for one in request.expect:
                headers = [[header.lower(), value] for header, value in one["headers"]]
                body = one["body"] if isinstance(one["body"], str) else one["body"].decode("latin-1")
                messages.append({"method": one["method"], "body": body, "headers": headers})
        else:
            request = treq.badrequest(path)
        found.append(
            {"name": name, "data": request.data.decode("latin-1"), "messages": messages, "bad": kind != "valid"}
        )
    return found


# h11

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def h11_cases(folder):
    """Runs h11's tests with an ear on what they use."""
    given = []
    for name, function in h11_tests(given):
        before = len(given)
        with contextlib.redirect_stdout(io.StringIO()):
            function()
        for number in range(before, len(given)):
            given[number] = (f"{name}/{number - before}", given[number])
    found, seen = [], set()
    for name, heard in given:
        data = bytes(heard)
        for suffix, each in (("", data), ("+chunked", HEAD + data)):
            if data and each not in seen:
                seen.add(each)
                messages, bad = as_server(each)
                found.append({"name": name + suffix, "data": each.decode("latin-1"), "messages": messages, "bad": bad})
    return found


def h11_tests(given):
    """The functions that hear what is given to h11; a list grows by it: bytearrays of what was received."""
    import h11._receivebuffer
    from h11.tests import test_connection, test_events, test_headers, test_io

    add = h11._receivebuffer.ReceiveBuffer.__iadd__
    begin = h11._receivebuffer.ReceiveBuffer.__init__

    def __init__(self):
        begin(self)
        self_heard[id(self)] = bytearray()
        kept.append(self)
        given.append(self_heard[id(self)])

    def __iadd__(self, data):
        self_heard[id(self)] += data
        return add(self, data)

    self_heard, kept = {}, []
    h11._receivebuffer.ReceiveBuffer.__init__ = __init__
    h11._receivebuffer.ReceiveBuffer.__iadd__ = __iadd__

    normalize, request = test_headers.normalize_and_validate, test_events.Request

    def as_bytes(value):
        return value if isinstance(value, (bytes, bytearray)) else str(value).encode("latin-1")

    def heard(method=b"GET", target=b"/", headers=(), version=b"1.1"):
        with contextlib.suppress(ValueError, TypeError):  # headers that are not even pairs
            rows = [as_bytes(name) + b": " + as_bytes(value) for name, value in headers]
            line = b"%b %b HTTP/%b" % (as_bytes(method), as_bytes(target), as_bytes(version))
            hosts = [] if any(row.lower().startswith(b"host:") for row in rows) else [b"Host: a"]
            given.append(b"\r\n".join([line, *hosts, *rows, b"", b""]))

    def hears_headers(headers, _parsed=False):
        if isinstance(headers, list):
            heard(headers=headers)
        return normalize(headers, _parsed=_parsed)

    def hears_request(*, method=b"GET", target=b"/", headers=(), http_version=b"1.1", **more):
        heard(method, target, headers, http_version)
        return request(method=method, target=target, headers=headers, http_version=http_version, **more)

    test_headers.normalize_and_validate = hears_headers
    for module in (test_io, test_connection, test_headers, test_events):
        short = module.__name__.rpartition(".")[2]
        if module is test_events:
            module.Request = hears_request
        for name, function in list(vars(module).items()):
            if name.startswith("test_") and callable(function):
                for arguments in arguments_of(function):
                    yield f"{short}.{name.removeprefix('test_')}", functools.partial(function, *arguments)
    h11._receivebuffer.ReceiveBuffer.__init__ = begin
    h11._receivebuffer.ReceiveBuffer.__iadd__ = add


def arguments_of(function):
    """What pytest would give to a test that is run with several values of one parameter."""
    for mark in getattr(function, "pytestmark", ()):
        return [[getattr(value, "values", [value])[0]] for value in mark.args[1]]
    return [[]]


def as_server(data):
    """What h11 makes of some bytes: the requests that are whole, and whether an error follows."""
    import h11

    connection, messages, begun = h11.Connection(h11.SERVER), [], None
    try:
        connection.receive_data(data)
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if event is h11.PAUSED:
                break  # the connection ends here, or another protocol begins
            if isinstance(event, h11.Request):
                headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in event.headers]
                begun = {"method": event.method.decode("ascii"), "body": "", "headers": headers}
            elif isinstance(event, h11.Data):
                begun["body"] += bytes(event.data).decode("latin-1")
            elif isinstance(event, h11.EndOfMessage):
                messages.append(begun)
                if connection.our_state is not h11.SEND_RESPONSE:
                    break
                connection.send(h11.Response(status_code=400, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    break
                connection.start_next_cycle()
            else:
                break
    except h11.RemoteProtocolError:
        return messages, True
    return messages, False


if __name__ == "__main__":
    json.dump({"gunicorn": gunicorn_cases, "h11": h11_cases}[sys.argv[1]](sys.argv[2]), sys.stdout)
