"""What is tried where. scripts/test and scripts/lint start this; ``nox --list`` in their environment lists it.

The default Python is that of .venv, which the scripts keep up to date; the others, and the build with the sanitizers,
get environments below build/.
"""

import glob
import os
import shutil
import subprocess
import sys
import time
import tomllib
from functools import partial
from pathlib import Path

import nox

ROOT = Path(__file__).parent
BUILD = ROOT / "build"

nox.needs_version = ">=2025.2.9"
nox.options.envdir = str(BUILD / "nox")
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = False

OLDEST = "3.11"

# What scripts/pythons brings.
DEBIAN = BUILD / "pythons" / "forky"
DEBIAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IN_DEBIAN = (str(ROOT / "scripts" / "pythons"),)

# Most tests wait more than they compute. Neighbours stay together, and who has nothing left takes half of another's.
PARALLEL = ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal"]

# A test that fails is run once more. Each such test is shown with its traceback and written to build/reruns.txt, and
# more than a few fail the run: see tests/helpers/reruns.py.
RERUNS = ["--reruns", "1"]

# Between the oldest and the newest Python: how each one's asyncio uses the loop, in CPython's own words; and in ours on
# the Python of Debian's stable release, which most have.
BETWEEN = ["tests/suites/test_cpython.py"]
BETWEEN_OFTEN = {13: [*BETWEEN, "tests/ring", "tests/loop"]}

# What depends on the kernel: operations, and the ways the loop has without them.
KERNEL_DEPENDENT = ["tests/ring", "tests/loop"]
KERNELS = ["6.1", "6.7", "6.12"]

# What hands memory to the kernel, or parses in C; and the part of it on which the rest stands.
MEMORY = ["tests/ring", "tests/loop", "tests/files", "tests/http"]
MEMORY_FIRST = ["tests/ring", "tests/loop"]

# Runs that repeat others look for less long at random.
SHORT = {"IORING_SOAK_SECONDS": "10", "IORING_MODEL_SECONDS": "5", "IORING_FUZZ_SECONDS": "5"}


def pytest(session, *arguments, python=(sys.executable,), **options):
    """Tests in parallel, in an environment that has what they need."""
    results = [0, 5] if "-m" in arguments else [0]  # 5: every test that was asked for has the mark that is left out
    command = [*python, "-m", "pytest", "-q", *PARALLEL, *RERUNS, *arguments]
    session.run(*command, success_codes=results, external=True, **options)


def pythons():
    """By minor version, how each other CPython from 3.11 on is started that can build ioring."""
    found = {minor: (path,) for minor, path in pythons_of_machine().items()}
    # Those of scripts/pythons are newer patch releases, and have their own tests.
    if (DEBIAN / "ioring.stamp").exists():
        found |= {minor: (*IN_DEBIAN, f"python3.{minor}") for minor in (14, 15)}
    return found


def pythons_of_machine():
    """The same for what this machine has: paths."""
    folders = [*os.get_exec_path(), "/usr/local/bin", "/usr/bin", *glob.glob("/opt/*/bin")]
    folders += glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin"))
    ask = (
        "import importlib.util, os, sys, sysconfig; "
        "assert os.path.exists(sysconfig.get_path('include') + '/Python.h') and importlib.util.find_spec('ensurepip'); "
        "assert not sysconfig.get_config_var('Py_GIL_DISABLED'); print(sys.version_info[1], sys._base_executable)"
    )
    found = {}
    for minor in range(11, 16):
        for folder in folders if minor != sys.version_info[1] else ():
            path = shutil.which(f"python3.{minor}", path=folder)
            if path is None:
                continue
            answer = subprocess.run([path, "-IS", "-c", ask], check=False, capture_output=True, text=True)
            if answer.returncode == 0 and answer.stdout.startswith(f"{minor} "):
                found[minor] = answer.stdout.split(maxsplit=1)[1].strip()
                break
    return found


def environment(session, name, python, **options):
    """Makes an environment below build/ with ioring as it is now, and everything that the tests need."""
    venv = BUILD / "nox" / name
    interpreter = (*python[:-1], str(venv / "bin" / "python"))
    if not venv.exists():
        session.run(*python, "-m", "venv", str(venv), external=True, **options)
    with open(ROOT / "pyproject.toml", "rb") as file:
        requires = tomllib.load(file)["build-system"]["requires"]
    pip = [*interpreter, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q"]
    session.run(*pip, *requires, external=True, **options)
    session.run(*pip, "--no-build-isolation", "--root-user-action=ignore", ".[test]", external=True, **options)
    return interpreter


@nox.session(venv_backend="none")
def lint(session):
    """Style, types, and whether the stubs say what the modules are."""
    python = [sys.executable, "-m"]
    session.run(*python, "ruff", "check", "--quiet", ".", external=True)
    session.run(*python, "ruff", "format", "--quiet", "--check", ".", external=True)
    # The sources are for the oldest Python; the stubs are compared with the modules of the one that runs.
    session.run(*python, "mypy", "--no-error-summary", "--python-version", OLDEST, external=True)
    stubtest = ["mypy.stubtest", "--concise", "--ignore-disjoint-bases", "--mypy-config-file", "pyproject.toml"]
    allowed = ["--allowlist", "scripts/stubtest.allow", "--ignore-unused-allowlist"]
    session.run(*python, *stubtest, *allowed, "ioring", external=True)


@nox.session(venv_backend="none")
def tests(session):
    """All tests on the default Python."""
    pytest(session, *session.posargs)


@nox.session(venv_backend="none")
def default(session):
    """All tests on the default Python, and the ring and the loop under the sanitizers."""
    run_parts(session, [("the tests", partial(pytest, session)), sanitized(session, MEMORY_FIRST)])


@nox.session(venv_backend="none")
def python(session):
    """The tests on another Python: -- PATH [pytest's options]"""
    path, *arguments = session.posargs
    if path in ("3.14", "3.15"):
        session.run("scripts/pythons", external=True)
    others = {f"3.{minor}": python for minor, python in pythons().items()}
    on_python(session, others.get(path, (path,)), *arguments)


def on_python(session, python, *arguments, env=None):
    version = subprocess.run(
        [*python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    env, options = dict(env or {}), {}
    if len(python) > 1:
        # Another system: nothing of what is set here holds there.
        complete = {name: os.environ[name] for name in ("IORING_TEST_COMPLETE",) if name in os.environ}
        env = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": DEBIAN_PATH, **complete, **env}
        options = {"include_outer_env": False}
    # Compiling takes half as long so; the default Python has what is released.
    interpreter = environment(session, f"python-{version}", python, env={**env, "CFLAGS": "-O1"}, **options)
    session.log(f"the tests on Python {version}")
    pytest(session, "-m", "not any_python", *arguments, python=interpreter, env=env, **options)


@nox.session(venv_backend="none")
def kernel(session):
    """The tests as if the kernel were another: -- VERSION [pytest's options]"""
    version, *arguments = session.posargs
    on_kernel(session, version, *arguments)


def on_kernel(session, version, *arguments, env=None):
    library = BUILD / "old_kernel.so"
    compiler = os.environ.get("CC", "cc")
    session.run(compiler, "-shared", "-fPIC", "-O2", "-o", str(library), "tests/old_kernel.c", external=True)
    session.log(f"the tests as if on kernel {version}")
    env = {**(env or {}), "OLD_KERNEL": version, "LD_PRELOAD": str(library)}
    pytest(session, "-m", "not any_kernel and not any_python", *arguments, env=env)


@nox.session(venv_backend="none")
def sanitizers(session):
    """What touches memory, under the address and undefined-behaviour sanitizers: [-- pytest's options]"""
    under_sanitizers(session, *(session.posargs or MEMORY))


def under_sanitizers(session, *arguments):
    interpreter = environment(session, "sanitizers", (sys._base_executable,), env={"IORING_SANITIZE": "1"})
    compiler = os.environ.get("CC", "gcc")
    asked = [compiler, "-print-file-name=libasan.so"]
    env = {
        **SHORT,
        "IORING_SANITIZE": "1",
        # The interpreter itself is not instrumented, so the run-time library has to be there before it.
        "LD_PRELOAD": subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip(),
        "PYTHONMALLOC": "malloc",  # lets the sanitizer see each object
        # Leaks are not looked for, since CPython keeps much until the end.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    pytest(session, "-m", "not no_sanitizer", "-o", "timeout=300", *arguments, python=interpreter, env=env)


def sanitized(session, chosen):
    return "the sanitizers", partial(under_sanitizers, session, *chosen)


@nox.session(venv_backend="none")
def ci(session):
    """Everything whole on the oldest and the newest Python; elsewhere what differs there."""
    kernels = [KERNELS[0], KERNELS[-1]]
    run_parts(session, several(session, BETWEEN, kernels, KERNEL_DEPENDENT, MEMORY))


@nox.session(venv_backend="none", name="all")
def everything(session):
    """Everything on every Python, every kernel, and under the sanitizers."""
    run_parts(session, several(session, [], KERNELS, [], ["--long"], "--long"))


def several(session, between, kernels, on_kernels, memory, *default):
    """The parts of a run: names and functions."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("scripts/pythons", external=True)
    others = pythons()
    newest = max([sys.version_info[1], *others])
    oldest = min([sys.version_info[1], *others])
    yield "the tests", partial(pytest, session, *default)
    yield sanitized(session, memory)
    for minor, python in others.items():
        chosen = [] if minor in (oldest, newest) else between and BETWEEN_OFTEN.get(minor, between)
        yield f"Python 3.{minor}", partial(on_python, session, python, *chosen, env=SHORT)
    if os.uname().machine == "x86_64":  # what stands in for a kernel is written for one architecture
        for version in kernels:
            yield f"kernel {version}", partial(on_kernel, session, version, *on_kernels, env=SHORT)


def run_parts(session, parts):
    """Goes on after a failure, and says at the end what failed."""
    failed = []
    for name, part in parts:
        started = time.monotonic()
        try:
            part()
        except nox.command.CommandFailed:
            failed.append(name)
        session.log(f"{name} took {time.monotonic() - started:.0f} s")
    if failed:
        session.error(f"failed: {', '.join(failed)}")
