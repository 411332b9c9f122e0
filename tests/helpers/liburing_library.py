"""The installed liburing, for comparison: its header's declarations, its constants, and its preparation functions.

The functions are inline in the header, so a small library is made of them on the spot: of every ``io_uring_prep_*``
that this header has, one function that takes plain 64-bit integers. What a newer liburing adds is found by itself.
"""

import ctypes
import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import ioring.ring._sqe
import needed

URING_H = Path(ioring.ring._sqe.__file__).with_name("uring.h")
INCLUDES = """
#define _GNU_SOURCE
#include <liburing.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <stddef.h>
#include <stdio.h>
"""
PROTOTYPE = re.compile(r"\bvoid\s+io_uring_prep_(\w+)\s*\(\s*struct io_uring_sqe\s*\*\s*sqe\s*,?([^)]*)\)")
ALLOC = "IORING_FILE_INDEX_ALLOC"  # as an argument of Reference.prep
FLAGS = ["-O1", "-w", "-std=gnu11"]


def _compiler():
    return shlex.split(os.environ.get("CC", "cc"))


def _run(arguments, source):
    environment = {**os.environ, "LC_ALL": "C"}  # messages are read below
    return subprocess.run(
        [*_compiler(), *arguments], input=source, env=environment, check=False, capture_output=True, text=True
    )


def need():
    """Skips where there is no liburing to compare with."""
    if shutil.which(_compiler()[0]) is None:
        pytest.skip(needed.reason("cc"))
    if not declarations():
        pytest.skip(needed.reason("liburing.h"))


@functools.cache
def declarations():
    """The preprocessed header with all that it includes; empty where there is none."""
    preprocessed = _run(["-E", "-P", "-x", "c", "-"], INCLUDES)
    return "" if preprocessed.returncode else preprocessed.stdout


@functools.cache
def names():
    """Every identifier and macro that the header knows."""
    macros = _run(["-E", "-dM", "-x", "c", "-"], INCLUDES).stdout
    return set(re.findall(r"\w+", declarations())) | set(re.findall(r"#define (\w+)", macros))


@functools.cache
def prototypes():
    """The types of what each preparation function takes behind the SQE, by the name behind ``io_uring_prep_``."""
    found = {}
    for name, parameters in PROTOTYPE.findall(declarations()):
        types = [re.sub(r"\w+\s*$", "", parameter).strip() for parameter in parameters.split(",") if parameter.strip()]
        found[name] = [] if types == ["void"] else types
    return found


def evaluate(expressions):
    """The values of C expressions, ``uring.h`` included, as unsigned 64-bit numbers."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "values")
        lines = "".join(f'    printf("%llu\\n", (unsigned long long)({text}));\n' for text in expressions)
        source = f'{INCLUDES}#include "{URING_H}"\nint main(void) {{\n{lines}    return 0;\n}}\n'
        compiled = _run([*FLAGS, "-o", str(program), "-x", "c", "-"], source)
        assert compiled.returncode == 0, compiled.stderr
        output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [int(line) for line in output.split()]


def members(structure, candidates):
    """Those of the candidates that are members of a structure of the header."""
    lines = "".join(f"size_t at_{name} = offsetof(struct {structure}, {name});\n" for name in candidates)
    messages = _run(["-fsyntax-only", "-x", "c", "-"], INCLUDES + lines).stderr
    return set(candidates) - set(re.findall(r"no member named .(\w+)", messages))


@functools.cache
def _library():
    functions = []
    for name, types in prototypes().items():
        values = "".join(
            f", ({kind})(uintptr_t)a[{place}]" if "*" in kind else f", ({kind})a[{place}]"
            for place, kind in enumerate(types)
        )
        functions.append(
            f"void prep_{name}(struct io_uring_sqe *sqe, const uint64_t *a) {{ io_uring_prep_{name}(sqe{values}); }}"
        )
    functions.append("void set_data(struct io_uring_sqe *sqe, uint64_t x) { io_uring_sqe_set_data64(sqe, x); }")
    functions.append("void set_flags(struct io_uring_sqe *sqe, uint64_t x) { io_uring_sqe_set_flags(sqe, x); }")
    functions.append("void set_buf_group(struct io_uring_sqe *sqe, uint64_t x) { sqe->buf_group = x; }")
    functions.append("void set_ioprio(struct io_uring_sqe *sqe, uint64_t x) { sqe->ioprio = x; }")
    functions.append("void set_personality(struct io_uring_sqe *sqe, uint64_t x) { sqe->personality = x; }")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "prep.so")
        source = INCLUDES + "\n".join(functions)
        compiled = _run([*FLAGS, "-shared", "-fPIC", "-o", str(library), "-x", "c", "-"], source)
        assert compiled.returncode == 0, compiled.stderr
        return ctypes.CDLL(library)


class Reference:
    """A zeroed SQE that liburing prepares, to be compared with ``bytes`` of an ``ioring.Sqe``."""

    def __init__(self, size=64):
        self.sqe = ctypes.create_string_buffer(size)

    def prep(self, name, *arguments):
        """``io_uring_prep_name(sqe, *arguments)``; skips the test where this liburing has no such function."""
        if name not in prototypes():
            pytest.skip("operation newer than the installed liburing")
        assert len(arguments) == len(prototypes()[name]), f"io_uring_prep_{name} takes {prototypes()[name]}"
        self._call(name, [0xFFFFFFFF if argument == ALLOC else argument for argument in arguments])
        if ALLOC in arguments and fields(bytes(self))["file_index"] == 0:  # liburing before 2.4 adds one to it too
            self._call(name, [0xFFFFFFFE if argument == ALLOC else argument for argument in arguments])
        return self

    def _call(self, name, arguments):
        values = [argument & 0xFFFFFFFFFFFFFFFF for argument in arguments]
        getattr(_library(), f"prep_{name}")(self.sqe, (ctypes.c_uint64 * max(len(values), 1))(*values))

    def set(self, what, value):
        """Sets ``data``, ``flags``, ``buf_group``, ``ioprio`` or ``personality``."""
        getattr(_library(), f"set_{what}")(self.sqe, ctypes.c_uint64(value))
        return self

    def __bytes__(self):
        return self.sqe.raw


FIELDS = {  # of struct io_uring_sqe, under ioring's names: where, and how many bytes
    "opcode": (0, 1),
    "flags": (1, 1),
    "ioprio": (2, 2),
    "fd": (4, 4),
    "off": (8, 8),
    "addr": (16, 8),
    "len": (24, 4),
    "op_flags": (28, 4),
    "user_data": (32, 8),
    "buf_index": (40, 2),
    "personality": (42, 2),
    "file_index": (44, 4),
    "addr3": (48, 8),
    "pad2": (56, 8),
}


def fields(sqe):
    """The bytes of an SQE by name: a difference is then readable."""
    return {name: int.from_bytes(sqe[at : at + size], "little") for name, (at, size) in FIELDS.items()}


def address_of(buffer):
    """Where a writable object's bytes lie."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
