"""Builds the compiled modules; all that can be said declaratively is in pyproject.toml.

Compiled is every .py below src/ioring that has a .pxd of the same name beside it. A .pxd without a .py says what a C
header of that name declares. Environment variables:

    IORING_DEBUG=1      assertions in the compiled modules (-DIORING_DEBUG)
    IORING_SANITIZE=1   the address and undefined-behaviour sanitizers, and those assertions
    CFLAGS              as usual; an -O in it decides the optimisation
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SOURCE = Path("src")
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": True,  # a local `count: cython.uint` is one; signatures and attributes are in the .pxd
    # An application's tuple that is too short, a None: an exception and not a crash. The few modules in which it costs
    # something, and that look at nothing but their own, say otherwise in their first line.
    "boundscheck": True,
    "nonecheck": True,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": False,  # % and // mean what they mean in Python
    "auto_pickle": False,  # a ring and what hangs on it cannot be pickled, and Python then says so
    "autotestdict": False,
    "binding": False,  # plain method descriptors: the interpreter calls them faster
    "embedsignature": True,
    "embedsignature.format": "clinic",  # the signature that inspect and help() show
}


def enabled(name):
    return os.environ.get(name, "0") not in ("", "0")


SANITIZE = enabled("IORING_SANITIZE")
DEBUG = SANITIZE or enabled("IORING_DEBUG")
OPTIMISED = "-O" in os.environ.get("CFLAGS", "")
# Kinds of build never share a directory: object files do not tell which flags made them.
KIND = "sanitize" if SANITIZE else "debug" if DEBUG else "custom" if OPTIMISED else "release"
BUILD = Path("build", KIND)


def extensions():
    headers = sorted(SOURCE.rglob("*.h"))
    # Not the .pxd files: Cython knows which module reads which of them, and C is compiled when Cython wrote it anew.
    depends = ["setup.py", *map(str, headers)]
    include_dirs = sorted({str(header.parent) for header in headers})
    # Code and constants share pages, so that no module is filled up to whole ones: 0.25 MB less in all.
    compile_args, link_args = ["-Wno-unused-function"], ["-Wl,-z,noseparate-code"]
    if DEBUG:
        compile_args += ["-DIORING_DEBUG", "-UNDEBUG", "-g", "-O1"]
    elif OPTIMISED:
        compile_args += ["-g0"]
    else:
        compile_args += ["-O2", "-g0"]  # as fast as -O3, smaller and sooner: docs/performance.md, "Size and start"
    if SANITIZE:
        link_args += ["-fsanitize=address,undefined"]
        compile_args += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    return [
        Extension(
            ".".join(pxd.relative_to(SOURCE).with_suffix("").parts),
            [str(pxd.with_suffix(".py"))],
            depends=depends,
            include_dirs=include_dirs,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for pxd in sorted(SOURCE.rglob("*.pxd"))
        if pxd.with_suffix(".py").exists()
    ]


class BuildPy(build_py):
    def find_package_modules(self, package, package_dir):
        # Not the sources of compiled modules: nothing reads them where the modules are installed.
        found = super().find_package_modules(package, package_dir)
        return [each for each in found if not Path(each[2]).with_suffix(".pxd").exists()]

    def run(self):
        # setuptools never takes away what an earlier build left, so a deleted module would stay in every later wheel.
        # Compiled modules that still have a source are kept: they save compiling.
        built = Path(self.build_lib)
        compiled = {built.joinpath(*extension.name.split(".")) for extension in self.distribution.ext_modules}
        for file in built.rglob("*"):
            if file.is_file() and not (file.suffix == ".so" and file.parent / file.name.partition(".")[0] in compiled):
                file.unlink()
        super().run()


class BuildExt(build_ext):
    def run(self):
        # Here and not in setup(): reading metadata and making an sdist then need neither the compiler nor its time.
        from Cython import __version__ as cython_version
        from Cython.Build import cythonize

        c_dir = Path("build") / f"cython-{cython_version}"
        # Cython looks at the age of the sources only; the directives above may have changed too.
        newest = Path("setup.py").stat().st_mtime
        # Of modules that have gone since, older files may be there for ever.
        c_files = [(c_dir / source).with_suffix(".c") for each in self.extensions for source in each.sources]
        stale = any(c_file.exists() and c_file.stat().st_mtime < newest for c_file in c_files)
        made = cythonize(
            self.extensions,
            build_dir=str(c_dir),
            compiler_directives=DIRECTIVES,
            emit_linenums=True,  # assertions, sanitizers and gdb then name lines of the .py
            nthreads=os.cpu_count() or 1,
            force=stale,
            quiet=True,
        )
        sources = {extension.name: extension.sources for extension in made}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        self.parallel = self.parallel or os.cpu_count()
        if self.editable_mode:
            # setuptools would build in a temporary folder, and everything anew with the next change.
            self.build_lib = str(BUILD / f"lib.{self.plat_name}-{sys.implementation.cache_tag}")
            self.build_temp = str(BUILD / f"temp.{self.plat_name}-{sys.implementation.cache_tag}")
        super().run()


if __name__ == "__main__":  # the processes that run Cython may import this file again
    setup(
        ext_modules=extensions(),
        cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
        options={"build": {"build_base": str(BUILD)}},
    )
