"""Autobahn's fuzzing client for WebSockets, which is a program for Python 2.7, kept in build/suites.

Its packages come from PyPI (autobahn.txt). A Python 2.7 is taken from where it is installed, or out of Debian's
packages of it: they are unpacked here, and nothing is installed.
"""

import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

from .sdist import CACHES, Unavailable

PACKAGES = pathlib.Path(__file__).with_suffix(".txt")
LIMIT_S = 120

VERSION = re.search(r"(?m)^autobahntestsuite==(\S+)", PACKAGES.read_text()).group(1)
SITE = CACHES / f"autobahntestsuite-{VERSION}"

SUITE = "bullseye"
"""The last release of Debian that has a Python 2.7."""

SOURCE = f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {SUITE} main\n"
DEBIAN = ("python2.7-minimal", "libpython2.7-minimal", "libpython2.7-stdlib", "libssl1.1", "libffi7")
LIBRARIES = "usr/lib/x86_64-linux-gnu"

PROGRAM = "from autobahntestsuite import wstest; wstest.run()"


def run(command, what, **options):
    """Runs a program that fetches something.

    Raises:
        Unavailable: it cannot be had.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=environment(),
            stdin=subprocess.DEVNULL,
            **options,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{what} cannot be had: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["no word why"]
        errors = [line for line in lines if line.lower().startswith(("error", "e:"))]
        raise Unavailable(f"{what} cannot be had: {(errors or lines)[-1]}")
    return done.stdout


def environment(**more):
    """Without what is preloaded for the tests, and what is meant for their Python."""
    left_out = ("LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONMALLOC")
    return {name: value for name, value in os.environ.items() if name not in left_out} | more


def kept(path, make):
    """Has a folder made that is not there yet, in one step for whoever looks."""
    if path.is_dir():
        return path
    try:
        CACHES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHES) as folder:
            make(pathlib.Path(folder))
            pathlib.Path(folder, "new").rename(path)
    except OSError as error:
        if not path.is_dir():  # another process may have been first
            raise Unavailable(f"{path} cannot be made: {error}") from error
    return path


def make_site(folder):
    """Downloads the packages and unpacks them side by side: pip for Python 2.7 is not needed for that."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--dest", folder / "packages", "--requirement", PACKAGES]
    command += ["--implementation", "cp", "--python-version", "2.7", "--abi", "cp27mu", "--abi", "none"]
    for platform in ("manylinux2010_x86_64", "manylinux1_x86_64", "any"):
        command += ["--platform", platform]
    run(command, "Autobahn's fuzzing client")
    new = folder / "new"
    new.mkdir()
    for package in (folder / "packages").iterdir():
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                archive.extractall(new)
        else:
            unpack_sources(package, new)
    (new / "zope" / "__init__.py").touch()  # it is a package only where .pth files are read
    (new / "unittest2.py").write_text("from unittest import *\n")  # for a part of Autobahn that is only imported


def unpack_sources(package, folder):
    name = package.name.partition("-")[0]
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            path = member.name.partition("/")[2]
            if member.isfile() and path.startswith(f"{name}/") and ".." not in path:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())


def make_debian(folder):
    """Fetches Debian's packages by an apt-get that knows of this one release, and of nothing that is installed."""
    if shutil.which("apt-get") is None:
        raise Unavailable("there is no Python 2.7, and no apt-get that would fetch one")
    for each in ("state/lists/partial", "cache/archives/partial", "packages", "new"):
        (folder / each).mkdir(parents=True)
    (folder / "state" / "status").touch()
    (folder / "list").write_text(SOURCE)
    apt = ["apt-get", "-q"]
    for name, value in {
        "Dir::Etc::SourceList": folder / "list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "state" / "status",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",  # of a release that gets no more updates
    }.items():
        apt += ["-o", f"{name}={value}"]
    run([*apt, "update"], f"the list of Debian's packages of {SUITE}")
    run([*apt, "download", *DEBIAN], "Debian's Python 2.7", cwd=folder / "packages")
    for package in sorted((folder / "packages").iterdir()):
        run(["dpkg", "-x", package, folder / "new"], f"what is in {package.name}")


def python():
    """The command for a Python 2.7, and the variables that it needs."""
    candidates = [
        shutil.which("python2.7"),
        *sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/2.7.*/bin/python"))),
    ]
    for candidate in filter(None, candidates):
        try:
            said = run(
                [candidate, "-c", "import sys, zlib, json; print(sys.version_info[:2], sys.maxunicode)"], candidate
            )
        except Unavailable:  # a shim of pyenv, which has the name and no Python
            continue
        if said.strip() == "((2, 7), 1114111)":  # as the packages were built for
            return candidate, {}
    root = kept(CACHES / f"python2.7-{SUITE}", make_debian)
    return str(root / "usr/bin/python2.7"), {
        "PYTHONHOME": str(root / "usr"),
        "LD_LIBRARY_PATH": str(root / LIBRARIES),
    }


def cases(url, patterns, folder, limit_s):
    """Runs cases against an echoing server; what became of each, by its number, with what the client wrote of it.

    Raises:
        Unavailable: the client is not here and cannot be had.
    """
    site = kept(SITE, make_site)
    command, variables = python()
    specification = {
        "outdir": str(folder / "reports"),
        "servers": [{"agent": "ioring", "url": url}],
        "cases": patterns,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "specification.json").write_text(json.dumps(specification))
    done = subprocess.run(
        [command, "-B", "-c", PROGRAM, "-m", "fuzzingclient", "-s", str(folder / "specification.json")],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=limit_s,
        env=environment(PYTHONPATH=str(site), **variables),
    )
    index = folder / "reports" / "index.json"
    assert done.returncode == 0 and index.exists(), done.stdout[-4000:]
    found = json.loads(index.read_text())["ioring"]
    for each in found.values():
        each["report"] = json.loads((folder / "reports" / each["reportfile"]).read_text())
    return found
