"""Assertions of the compiled code: in debug builds they end the process, in releases they are not there."""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ioring.ring import _request

HEADER = Path(_request.__file__).with_name("assertions.h")
COMPILER = shlex.split(os.environ.get("CC", "cc"))

needs_compiler = pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no C compiler")

PROGRAM = f"""
#include "{HEADER}"
#include <stdio.h>
static int evaluated;
static int is(int value) {{ evaluated++; return value; }}
int main(void)
{{
    ioring_assert(is(1) == 1);
    printf("%d %d\\n", IORING_ASSERTIONS, evaluated);
    fflush(stdout);
    ioring_assert(is(1) == 2);
    return 0;
}}
"""


def run(tmp_path, *flags):
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(PROGRAM)
    # Under the sanitizers their library is preloaded, which is no business of the compiler or the program.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = [*COMPILER, "-Wall", "-Wextra", "-Werror", *flags, "-o", program, source]
    subprocess.run(command, check=True, env=environment)
    return subprocess.run(
        [program],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        check=False,
    )


@needs_compiler
def test_failed_assertion_says_where_and_aborts(tmp_path):
    ended = run(tmp_path, "-DIORING_DEBUG")
    assert ended.stdout == "1 1\n"
    assert ended.returncode == -signal.SIGABRT, ended
    assert re.fullmatch(r".*program\.c:\d+: ioring: assertion failed: is\(1\) == 2\n", ended.stderr)


@needs_compiler
def test_release_evaluates_nothing(tmp_path):
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0 0\n", "")


def test_debug_builds_have_them_and_releases_do_not():
    # As in setup.py; scripts/test builds and runs the tests with the same variables.
    wanted = any(os.environ.get(name, "0") not in ("", "0") for name in ("IORING_DEBUG", "IORING_SANITIZE"))
    assert wanted == _request.ASSERTIONS
