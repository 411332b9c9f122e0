"""pytest in a copy of somebody else's tests, in a process of its own, and what it found."""

import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

TESTS = pathlib.Path(__file__).parents[1]
OURS = [TESTS, TESTS / "helpers"]


def run(copy, plugin, *options, variables, limit, first=()):
    """Runs tests with a module of ours as a plugin.

    Parameters:
        copy: their folder.
        plugin: the module's name.
        options: more of pytest's arguments, and which tests.
        variables: of the environment, for the plugin.
        limit: in seconds.
        first: folders that come before all others on the path.

    Returns the outcomes by (name of the class, name), and what was printed.
    """
    path = [*map(str, [*first, *OURS]), *filter(None, sys.path)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--junitxml=report.xml", *options],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        check=False,
    )
    report = pathlib.Path(copy, "report.xml")
    found = {}
    if report.exists():
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            found[case.get("classname"), case.get("name")] = case[0].tag if len(case) else "passed"
    return found, done.stdout
