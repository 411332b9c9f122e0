"""The documentation is true: its listings run, its tables are complete, its links lead somewhere.

Every python listing says in an HTML comment before it how it is tried:

    <!-- run -->                        it runs to its end
    <!-- run; needs NAME -->            the same, where the kernel has the operation or registration
    <!-- run: 3 clients connect -->     it listens; three clients connect and stay; then Ctrl-C
    <!-- run: 3 clients are echoed -->  it listens; three clients at once get back what they send; then Ctrl-C
    <!-- part of examples/accept.py --> it stands in that file
    <!-- part of the next listing -->   it stands in the next listing of the page that runs

A listing that listens does so by socket.create_server(); it is given a free port, whatever it asks for. A text block
after `<!-- output -->` is what the listing before it prints; `...` there stands for anything within a line.
"""

import contextlib
import dataclasses
import enum
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import ioring

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(ROOT.glob("docs/**/*.md"))
REFERENCE = ROOT / "docs/reference"
TIMEOUT_S = 30


@dataclasses.dataclass
class Listing:
    page: Path
    line: int
    language: str
    marker: str
    text: str

    @property
    def name(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def listings(page):
    found = []
    marker, listing = "", None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.fullmatch(r"```(\w*)", line)
        if listing is not None:
            if fence:
                found.append(listing)
                marker, listing = "", None
            else:
                listing.text += line + "\n"
        elif fence:
            listing = Listing(page, number, fence[1], marker, "")
        elif line.strip():
            comment = re.fullmatch(r"<!-- (.*) -->", line)
            marker = comment[1] if comment else ""
    assert listing is None, f"{page}: a listing without an end"
    return found


LISTINGS = {page: listings(page) for page in PAGES}
PYTHON = [listing for page in PAGES for listing in LISTINGS[page] if listing.language == "python"]
RUNNING = [listing for listing in PYTHON if re.match(r"run\b", listing.marker)]
PARTS = [listing for listing in PYTHON if listing.marker.startswith("part of ")]

# Runs a listing so that its line numbers are those of the page, and says on which port it listens.
BOOTSTRAP = """
import socket, sys
page, line, source, announce = sys.argv[1:]
create_server = socket.create_server
def announcing(address, **options):
    server = create_server((address[0], 0), **options)
    with open(int(announce), "w") as pipe:
        print(server.getsockname()[1], file=pipe)
    return server
socket.create_server = announcing
sys.argv[1:] = []
exec(compile("\\n" * int(line) + source, page, "exec"), {"__name__": "__main__"})
"""


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def clients_connect(count, port, stack):
    for _ in range(count):
        stack.enter_context(connect(port))


def clients_are_echoed(count, port, stack):
    right = []

    def talk():
        message = os.urandom(50_000)
        with connect(port) as client:
            client.sendall(message)
            received = b""
            while len(received) < len(message) and (part := client.recv(1 << 16)):
                received += part
        right.append(received == message)

    threads = [threading.Thread(target=talk) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * count


def expected_output(listing):
    """What stands in the output block after a listing, or None."""
    following = LISTINGS[listing.page]
    following = following[following.index(listing) + 1 :]
    return following[0].text.splitlines() if following and following[0].marker == "output" else None


def matches(line, pattern):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), line) is not None


@pytest.mark.parametrize("listing", RUNNING, ids=lambda listing: listing.name)
def test_listing_runs(listing, tmp_path):
    form = re.fullmatch(r"run(?:; needs (\w+))?(?:: (\d+) (clients connect|clients are echoed))?", listing.marker)
    assert form, f"{listing.name}: what is <!-- {listing.marker} -->?"
    needed, count, what = form.groups()
    if needed:
        kernel = ioring.features()
        if needed not in kernel.operations + kernel.registrations:
            pytest.skip(f"the kernel has no {needed}")
    reading, writing = os.pipe()
    # Listings leave it to the end of the process to close a listening socket.
    command = [sys.executable, "-W", "error", "-W", "ignore:unclosed <socket:ResourceWarning", "-c", BOOTSTRAP]
    with open(reading) as announced:
        process = subprocess.Popen(
            [*command, listing.name, str(listing.line), listing.text, str(writing)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            printed, complaints = [], ""
            expected = expected_output(listing)
            if count:
                port = announced.readline()
                assert port, process.communicate()[1]
                with contextlib.ExitStack() as stack:
                    drive = {"clients connect": clients_connect, "clients are echoed": clients_are_echoed}[what]
                    drive(int(count), int(port), stack)
                    printed = [process.stdout.readline().rstrip("\n") for _ in expected or ()]
                    process.send_signal(signal.SIGINT)
                    more, complaints = process.communicate()
                # Listings need not be polite about Ctrl-C.
                if complaints.endswith("\nKeyboardInterrupt\n"):
                    assert complaints.count("Traceback") == 1, complaints
                    complaints = ""
                    assert process.returncode == -signal.SIGINT
                else:
                    assert process.returncode == 0, complaints
            else:
                more, complaints = process.communicate()
                assert process.returncode == 0, complaints
        finally:
            watchdog.cancel()
            watchdog.join()
            process.kill()
            process.communicate()
    assert complaints == ""
    printed += more.splitlines()
    if expected is not None:
        assert len(printed) == len(expected), printed
        for line, pattern in zip(printed, expected, strict=True):
            assert matches(line, pattern), (printed, pattern)


@pytest.mark.parametrize("listing", PARTS, ids=lambda listing: listing.name)
def test_listing_is_part_of_what_it_says(listing):
    whole = listing.marker.removeprefix("part of ")
    if whole == "the next listing":
        following = LISTINGS[listing.page]
        following = following[following.index(listing) + 1 :]
        text = next(other.text for other in following if other in RUNNING)
    else:
        text = (ROOT / whole).read_text()
    # Whole lines, at any depth of indentation.
    part = textwrap.dedent(listing.text).rstrip("\n")
    depths = {re.match(" *", line)[0] for line in text.splitlines()}
    assert any(f"\n{textwrap.indent(part, depth)}\n" in f"\n{text}\n" for depth in depths), listing.name


def test_every_listing_is_tried():
    assert RUNNING
    assert [listing.name for listing in PYTHON if listing not in RUNNING and listing not in PARTS] == []
    for page in PAGES:
        for before, listing in zip([None, *LISTINGS[page]], LISTINGS[page], strict=False):
            assert listing.language in ("python", "sh", "text", "c"), f"{listing.name}: {listing.language!r}"
            if listing.marker == "output":
                assert listing.language == "text"
                assert before in RUNNING, f"{listing.name}: the output of what?"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_files_that_exist(page):
    text = page.read_text()
    for name in re.findall(r"(?<![\w/.-])((?:scripts|examples|tests|docs|src)/[\w./-]*\w)", text):
        assert (ROOT / name).exists(), name


def slug(heading):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in headings(linked), f"{page.name}: {target}"


def test_every_page_can_be_found():
    """From the index, link by link."""
    found, todo = set(), [ROOT / "docs/index.md"]
    while todo:
        page = todo.pop()
        if page not in found:
            found.add(page)
            links = re.findall(r"\]\(([^)#\s]+\.md)[)#]", page.read_text())
            todo += [(page.parent / link).resolve() for link in links if not re.match(r"https?:", link)]
    assert set(PAGES) - found == set()


# The reference


def documented(page):
    """The rows of a page's tables whose first cell is a call: name, arguments, and the other cells."""
    rows = re.findall(r"^\| `(\w+)\(([^`]*)\)` \|(.*)\|$", (REFERENCE / page).read_text(), flags=re.MULTILINE)
    return {name: (arguments, [cell.strip() for cell in cells.split("|")]) for name, arguments, cells in rows}


def signature(method):
    """The parameters as the reference writes them, without self."""
    text = getattr(method, "__text_signature__", None)
    if text is None:
        parameters = inspect.signature(method).parameters.values()
        # Types are left out; a default that is a flag is written as its number.
        plain = [
            p.replace(
                default=int(p.default) if isinstance(p.default, enum.Enum) else p.default,
                annotation=inspect.Parameter.empty,
            )
            for p in parameters
            if p.name != "self"
        ]
        text = str(inspect.Signature(plain))
    text = text.replace("file_index=0xFFFFFFFF", "file_index=FILE_INDEX_ALLOC")
    text = text.replace("futex_flags=2", "futex_flags=FutexFlags.SIZE_U32")
    return re.sub(r"^\(\$self(, )?", "(", text)[1:-1]


def test_every_operation_is_in_the_reference():
    operations = {name for name in dir(ioring.Sqe) if name.startswith("prep_")}
    rows = documented("sqe.md")
    assert set(rows) == operations
    for name, (arguments, [liburing, kernel, _]) in rows.items():
        method = getattr(ioring.Sqe, name)
        assert arguments == signature(method), name
        # The docstring knows liburing's name, and the kernel where it is not one of the first.
        assert liburing == "" or liburing.strip("`") in method.__doc__, name
        version = re.search(r"kernel (\d\.\d+)", method.__doc__.split("\n")[0])
        assert version is None or kernel == version[1], name


@pytest.mark.parametrize("page", ["ring.md", "registrations.md"])
def test_methods_of_the_ring_have_the_signatures_of_the_reference(page):
    for name, (arguments, _) in documented(page).items():
        found = getattr(ioring.Ring, name, None) or getattr(ioring, name)
        assert arguments == signature(found), name


def public(cls):
    inherited = {name for base in (object, bytearray) for name in dir(base)}
    return {name for name in dir(cls) if not name.startswith("_") and name not in inherited}


@pytest.mark.parametrize(
    ("page", "cls"),
    [
        ("sqe.md", ioring.Sqe),
        ("cqe.md", ioring.Cqe),
        ("buffers.md", ioring.BufferRing),
        ("messages.md", ioring.MsgHdr),
        ("messages.md", ioring.RecvmsgOut),
        ("messages.md", ioring.SockAddr),
        ("structures.md", ioring.Statx),
        ("structures.md", ioring.SigInfo),
        ("structures.md", ioring.EpollEvents),
        ("features.md", ioring.KernelFeatures),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_public_name_of_a_class_is_in_the_reference(page, cls):
    text = (REFERENCE / page).read_text()
    assert {name for name in public(cls) if not re.search(rf"`(?:\w+\.)?{name}\b", text)} == set()


def test_every_public_name_of_the_ring_is_in_the_reference():
    text = (REFERENCE / "ring.md").read_text() + (REFERENCE / "registrations.md").read_text()
    assert {name for name in public(ioring.Ring) if not re.search(rf"`(?:Ring\.)?{name}\b", text)} == set()


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text() for page in REFERENCE.glob("*.md"))
    assert {name for name in ioring.__all__ if not re.search(rf"(?m)(^## |`(ioring\.)?){name}\b", text)} == set()


def test_every_flag_is_in_the_reference():
    text = (REFERENCE / "flags.md").read_text()
    for enumeration in vars(ioring).values():
        if inspect.isclass(enumeration) and issubclass(enumeration, int) and enumeration.__name__ in ioring.__all__:
            section = text.partition(f"## {enumeration.__name__}\n")[2].partition("\n## ")[0]
            rows = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
            assert rows == set(enumeration.__members__), enumeration.__name__
