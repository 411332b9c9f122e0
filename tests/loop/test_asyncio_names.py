"""asyncio's private names: that the running Python has each one that the loop uses. They are read from the sources.

There are three kinds: those that asyncio_private.py has for the other modules; those of asyncio's streams; and hooks
and attributes of asyncio.BaseEventLoop that Loop inherits.
"""

import ast
import asyncio
import asyncio.base_events
import asyncio.base_subprocess
import asyncio.selector_events
import asyncio.trsock
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import ioring
from ioring.loop.asyncio_private import SubprocessTransport

SOURCE = Path(__file__).parents[2] / "src" / "ioring"
FILES = ["loop/asyncio_private.py", "loop/_stream_reader.py"]
"""Where asyncio's private names may stand (see test_layers.py)."""

LOOP = [f"loop/{name}.py" for name in ("event_loop", "signals", "sendfile", "subprocesses", "thread_of_ring")]
"""What Loop consists of, in plain Python."""

COMPILED = ["loop/_engine", "loop/_core", "loop/_leftovers", "loop/_sock_calls", "loop/_readiness"]
"""And what it inherits from."""

# What variables in these files refer to when an attribute of theirs is asyncio's.
STREAMS = {
    "reader": asyncio.StreamReader,
    "self.reader": asyncio.StreamReader,
    "read.reader": asyncio.StreamReader,
    "protocol": asyncio.StreamReaderProtocol,
    "self._protocol": asyncio.StreamReaderProtocol,
}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def dotted(node):
    """A chain of attributes as text, or None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (above := dotted(node.value)) is not None:
        return f"{above}.{node.attr}"
    return None


def is_module(name):
    return importlib.util.find_spec(f"asyncio.{name}") is not None


def parsed(name):
    return ast.parse((SOURCE / name).read_text())


def names_behind_asyncio():
    """asyncio.x.y as it stands in the sources, the longest form of each, where some part is private."""
    found = set()
    for name in FILES:
        for node in ast.walk(parsed(name)):
            text = dotted(node) if isinstance(node, ast.Attribute) else None
            if text is not None and text.startswith("asyncio.") and any(map(is_private, text.split("."))):
                found.add(text)
    return sorted(found)


def names_of_the_base():
    """Private attributes of `self` in Loop and what it is made of that these classes do not make themselves."""
    used, made = set(), set()
    for name in (*LOOP, *(f"{name}.py" for name in COMPILED)):
        for node in ast.walk(parsed(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                made.add(node.name)
            elif isinstance(node, ast.Assign):
                made.update(target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.Attribute) and dotted(node.value) == "self" and is_private(node.attr):
                (made if isinstance(node.ctx, ast.Store) else used).add(node.attr)
            elif isinstance(node, ast.AnnAssign) and (dotted(node.target) or "").startswith("self._"):
                made.add(node.target.attr)
    declared = set()
    for name in COMPILED:
        for line in (SOURCE / f"{name}.pxd").read_text().splitlines():
            declared.update(re.findall(r"\b(_\w+)\b", line.partition("#")[0]))
    return used - made - declared


def hooks():
    """Methods of Loop that asyncio.BaseEventLoop calls, by the names it has for them."""
    own = {node.name for name in LOOP for node in ast.walk(parsed(name)) if hasattr(node, "name")}
    base = ast.walk(ast.parse(Path(asyncio.base_events.__file__).read_text()))
    called = {node.attr for node in base if isinstance(node, ast.Attribute) and dotted(node.value) == "self"}
    return own & called


def names_of_streams():
    """Private attributes of asyncio's reader and of its protocol."""
    found = set()
    for node in ast.walk(parsed("loop/_stream_reader.py")):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = STREAMS.get(dotted(node.value))
            if owner is not None:
                found.add((owner, node.attr))
    return found - {(asyncio.StreamReader, "_feed")}  # the loop's own addition


def resolve(text):
    """The object that a dotted name means, modules imported as necessary."""
    module, names = "asyncio", text.split(".")[1:]
    here = asyncio
    for name in names:
        if not hasattr(here, name):
            here = importlib.import_module(f"{module}.{name}")
        else:
            here = getattr(here, name)
        module = f"{module}.{name}"
    return here


def test_the_sources_say_something():
    """Otherwise the tests below would find nothing wrong with nothing."""
    assert {"asyncio.constants._SendfileMode.TRY_NATIVE", "asyncio.events._set_running_loop"} <= set(
        names_behind_asyncio()
    )
    assert {"_ensure_resolved", "_asyncgen_firstiter_hook", "_check_running"} <= names_of_the_base()
    assert {"_start_serving", "_make_socket_transport", "_make_subprocess_transport"} <= hooks()
    assert (asyncio.StreamReader, "_waiter") in names_of_streams()


@pytest.mark.parametrize("name", names_behind_asyncio())
def test_name_exists(name):
    assert resolve(name) is not None


@pytest.mark.parametrize("name", sorted(names_of_the_base()))
def test_base_has_it(name):
    loop = asyncio.SelectorEventLoop()
    try:
        assert hasattr(asyncio.BaseEventLoop, name) or name in vars(loop)
    finally:
        loop.close()


@pytest.mark.parametrize("name", sorted(name for name in hooks() if is_private(name)))
def test_hook_is_one_of_asyncio(name):
    """With parameters that the running Python passes: its own signature has no other names."""

    own = inspect.signature(getattr(ioring.Loop, name)).parameters
    for base in (asyncio.SelectorEventLoop, asyncio.BaseEventLoop):
        theirs = getattr(base, name, None)
        if theirs is not None:
            missing = {
                parameter.name
                for parameter in inspect.signature(theirs).parameters.values()
                if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty
            } - set(own)
            assert not missing or any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()), missing
            return
    pytest.fail(f"no loop of asyncio has {name}")


@pytest.mark.parametrize(("owner", "name"), sorted(names_of_streams(), key=str))
def test_stream_has_it(owner, name):
    loop = asyncio.SelectorEventLoop()
    try:
        reader = asyncio.StreamReader(loop=loop)
        it = reader if owner is asyncio.StreamReader else asyncio.StreamReaderProtocol(reader, loop=loop)
        assert hasattr(it, name)
    finally:
        loop.close()


def names_of_private_loop():
    """What asyncio_private.py tells type checkers of BaseEventLoop."""
    for node in ast.walk(parsed("loop/asyncio_private.py")):
        if isinstance(node, ast.ClassDef) and node.name == "BaseEventLoop":
            names = {each.name for each in node.body if hasattr(each, "name")}
            return names | {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
    return set()


@pytest.mark.parametrize("name", sorted(names_of_private_loop()))
def test_type_checkers_are_told_the_truth(name):
    loop = asyncio.SelectorEventLoop()
    try:
        # asyncio has had the last one since Python 3.13, and Loop for itself before.
        assert hasattr(loop, name) or name == "_unix_server_sockets"
    finally:
        loop.close()


def test_children_have_what_the_transport_uses():
    base = asyncio.base_subprocess.BaseSubprocessTransport
    own = inspect.signature(base._start).parameters
    assert list(inspect.signature(SubprocessTransport._start).parameters) == list(own)
    assert base._process_exited and base._wait


def test_server_keeps_what_transports_use():
    """Transports attach themselves, and take the kind of a socket from the server's."""
    server = asyncio.base_events.Server
    assert server._attach and server._detach
    loop = asyncio.SelectorEventLoop()
    try:
        assert server(loop, [], asyncio.Protocol, None, 1, None)._sockets == []
    finally:
        loop.close()


def test_transports_have_what_tls_uses():
    """Of transports that are not ours, TLS over which is possible."""
    transport = asyncio.selector_events._SelectorSocketTransport
    assert transport._start_tls_compatible is True
    assert list(inspect.signature(transport._force_close).parameters) == ["self", "exc"]


def attributes_of_the_base():
    """Compiled attributes of the loop that asyncio.BaseEventLoop reads and writes by these names."""
    for name in COMPILED:
        text = (SOURCE / f"{name}.pxd").read_text()
        for group in re.findall(r"# Attributes that asyncio.*\n((?: +cdef public .*\n)+)", text):
            yield from re.findall(r"(\w+)\n", group)


def test_base_has_the_attributes_that_are_compiled():
    found = set(attributes_of_the_base())
    assert {"_closed", "_thread_id", "_debug", "_stopping", "_task_factory", "_current_handle"} <= found
    loop = asyncio.SelectorEventLoop()
    try:
        assert found <= set(vars(loop))
    finally:
        loop.close()


def test_future_has_what_awaitables_set():
    loop = asyncio.SelectorEventLoop()
    try:
        assert loop.create_future()._asyncio_future_blocking is False
    finally:
        loop.close()


def test_no_other_file_names_them():
    """What asyncio keeps private is named in the files above alone; test_layers.py says so of asyncio._x itself."""
    for path in SOURCE.rglob("*.py"):
        if str(path.relative_to(SOURCE)) not in FILES:
            text = path.read_text()
            assert not re.search(r"\b_asyncio\b|asyncio\.(\w+\.)*_[a-z]", text), path
            # Its modules are private too: what is public of them, the package has.
            assert not {name for name in re.findall(r"(?<![`\w])asyncio\.([a-z_]+)\.\w", text) if is_module(name)}, path
            # Of transports that may be another loop's: our own are called by names of ours.
            assert not re.search(r"_start_tls_compatible\"|transport\._force_close", text), path
