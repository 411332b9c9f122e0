"""Programs that people run on asyncio, run on our loop: `async def` tests, real servers, certificates.

IORING_PROGRAMS_LOOP=asyncio or uvloop runs them on another loop, which tells whose fault a failure is.
"""

import asyncio
import contextlib
import glob
import inspect
import multiprocessing.resource_tracker
import os
import shutil
import ssl
import tempfile
import traceback
import types
from pathlib import Path

import pytest

import needed
from programs import children, loops

TIMEOUT_S = 40  # shorter than pytest's, so that the coroutine that waits is seen

# Warnings of the programs themselves, which say nothing about the loop.
IGNORED = [
    "ignore::DeprecationWarning:(aiohttp|anyio|asyncpg|grpc|httpx|hypercorn|redis|tornado|uvicorn|websockets|zmq)",
]


# What other loops cannot do.
FAILING = {
    "test_loops_in_threads[uv]": "uvloop hangs when loops of several threads start children",
    "test_standard_input_can_be_opened_by_its_name[uv]": "uvloop gives children sockets for pipes",
    "test_write_to_a_child_that_is_gone[uv]": "uvloop's write() raises RuntimeError when the transport is closed",
}


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for line in IGNORED:
                item.add_marker(pytest.mark.filterwarnings(line))
            if item.name in FAILING:
                item.add_marker(pytest.mark.xfail(reason=FAILING[item.name], run=False))


@pytest.fixture(params=loops.CHOSEN, autouse=True)
def loop_name(request):
    """The function of programs.loops that makes the loop."""
    if request.param == "uv":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    return request.param


@pytest.fixture
def loop_factory(loop_name):
    return getattr(loops, loop_name)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs `async def` tests on the loop. What reaches the loop's exception handler is a failure."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    complaints = []

    def complain(loop, context):
        exception = context.get("exception")
        complaints.append(f"{context}\n" + "".join(traceback.format_exception(exception) if exception else ()))

    async def test():
        asyncio.get_running_loop().set_exception_handler(complain)
        async with asyncio.timeout(TIMEOUT_S):
            await pyfuncitem.obj(**arguments)

    factory = getattr(loops, pyfuncitem.callspec.params["loop_name"])
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(test())
    assert not complaints, "\n".join(complaints)
    return True


@pytest.fixture(scope="session", autouse=True)
def kept_to_the_end():
    """What libraries make once and keep is made before the first test, so that it does not count as a leak."""
    if "uv" in loops.CHOSEN:
        with contextlib.suppress(ImportError):
            loops.uv().close()  # libuv's pipe for signals
    with contextlib.suppress(ImportError):
        import pycares

        pycares.Channel().close()  # a thread; aiohttp resolves names by pycares where it is installed
    multiprocessing.resource_tracker.ensure_running()  # a process, and a pipe to it


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A certificate for localhost: its files, and a context for either end."""
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    found = types.SimpleNamespace(cert=folder / "cert.pem", key=folder / "key.pem", authority=folder / "ca.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(found.cert), append=number > 0)
    issued.private_key_pem.write_to_path(str(found.key))
    authority.cert_pem.write_to_path(str(found.authority))
    found.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.server.load_cert_chain(found.cert, found.key)
    found.client = ssl.create_default_context(cafile=str(found.authority))
    return found


@contextlib.contextmanager
def folder_of(user):
    """A folder for the socket and the files of a server; paths of sockets must be short, and `user` must get there."""
    folder = tempfile.mkdtemp(prefix="ioring-")
    try:
        if user is not None:
            shutil.chown(folder, user)
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_server():
    """A Redis of our own: its port and the path of its socket."""
    program = needed.program("redis-server")
    with folder_of(None) as folder:
        port, path = children.free_port(), folder / "socket"
        arguments = [
            program,
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--unixsocket",
            str(path),
            "--dir",
            str(folder),
        ]
        with children.running([*arguments, "--save", "", "--appendonly", "no"]) as child:
            child.wait_for(r"(?i)ready to accept connections (at|unix)|accept connections at")
            yield types.SimpleNamespace(port=port, path=path)
            assert child.stop() == 0, child.said


@pytest.fixture(scope="session")
def postgres(certificates):
    """A PostgreSQL of our own: its port, the folder of its socket, and the certificate's authority for TLS."""
    places = os.pathsep.join([os.environ["PATH"], *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)])
    initdb, server = (needed.program(name, path=places) for name in ("initdb", "postgres"))
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    identity = {"user": user, "group": "nogroup", "extra_groups": []} if user else {}
    with folder_of(user) as folder:
        options = {"env": {"PATH": places, "LC_ALL": "C"}, "cwd": folder, **identity}
        data, port = folder / "data", children.free_port()
        made = ["--auth=trust", "--username=tester", "--encoding=UTF8", "--no-sync", "--no-instructions"]
        with children.running([initdb, "--pgdata", str(data), *made], **options) as child:
            assert child.wait() == 0, child.said
        for name in ("cert", "key"):
            copy = shutil.copy(getattr(certificates, name), folder)
            os.chmod(copy, 0o600)
            if user is not None:
                shutil.chown(copy, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": folder / "cert.pem",
            "ssl_key_file": folder / "key.pem",
        }
        chosen = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with children.running([server, "-D", str(data), "-p", str(port), *chosen], **options) as child:
            child.wait_for("database system is ready to accept connections")
            yield types.SimpleNamespace(port=port, folder=folder, authority=certificates.authority)
            # SIGINT: an end that does not wait for clients.
            assert child.stop(2) == 0, child.said
