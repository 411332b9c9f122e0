"""The guide for those who come from other servers names each of their options, and of ours only those there are."""

import dataclasses
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ioring.http import Configuration

GUIDE = (Path(__file__).parents[2] / "docs/guides/coming-from.md").read_text()
MODULES = {"uvicorn": "uvicorn", "gunicorn": "gunicorn", "granian": "granian", "hypercorn": "hypercorn"}
OPTION = re.compile(r"`(?:ioring )?(--[a-z0-9][a-z0-9_-]*)")
COMMAND = {"--check", "--print-config", "--version"}
OURS = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Configuration) if field.metadata} | COMMAND

pytestmark = [pytest.mark.any_kernel, pytest.mark.any_python, pytest.mark.no_sanitizer]


def rows(server):
    """The rows of a server's table: its options, and what is said of ours."""
    section = GUIDE.partition(f"\n## {server}\n")[2].partition("\n## ")[0]
    found = [line.strip("| ").split(" | ", 1) for line in section.splitlines() if line.startswith("| `")]
    assert len(found) > 20
    return [(OPTION.findall(theirs), said) for theirs, said in found]


@pytest.mark.parametrize("server", MODULES)
def test_ours_are_there(server):
    for theirs, said in rows(server):
        assert theirs
        # `--no-access-log` is one that is on without it.
        for name in OPTION.findall(said):
            assert name in OURS or name.replace("--no-", "--") in OURS, (theirs, said)
        if re.search(r"\bthe same\b", said) and ":" not in said:
            assert set(theirs) <= OURS, (theirs, said)
        if "not there" in said:
            assert not set(theirs) & OURS or re.search("not there[^:]*$", said), (theirs, said)


@pytest.mark.parametrize("server", MODULES)
def test_theirs_are_complete(server):
    """Of the version that the guide is about: others may have more."""
    pytest.importorskip(MODULES[server])
    stated = re.search(rf"Options of {server} (\d+\.\d+)\.", GUIDE)[1]
    version = importlib.metadata.version(server)
    if not version.startswith(f"{stated}."):
        pytest.skip(f"the guide is about {server} {stated}, and {version} is here")
    help = subprocess.run(
        [sys.executable, "-m", server, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    ).stdout
    # At the beginning of a line, or behind a short form, and behind a comma where there are two names.
    there = set()
    for line in help.splitlines():
        head = re.match(r"\s+(?:-\w(?: [A-Z_]+)?, )?(--.*)", line)
        if head:
            there |= set(re.findall(r"(?:^|, |/ )(--[a-z0-9][\w-]*)", re.split(r"\s{2,}", head[1])[0]))
    assert len(there) > 20
    named = {name for theirs, _ in rows(server) for name in theirs}
    # The other way of a flag is not named by itself.
    opposites = {f"--no-{name[2:]}" for name in there}
    assert there - opposites - named == {"--help"}
    assert named - there == set()
