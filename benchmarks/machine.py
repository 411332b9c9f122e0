"""What a result was measured on: machine, kernel, compiler, Python and packages, as plain strings."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = (
    "ioring",
    "liburing",
    "uvloop",
    "rloop",
    "rsloop",
    "aiofiles",
    "aiofile",
    "caio",
    "pyaio",
    "turbofile",
    "uvicorn",
    "httptools",
    "granian",
    "hypercorn",
    "fastpysgi",
    "fastapi",
    "starlette",
)


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def field(path, name, separator=":"):
    """The value of the first line `name: value` of a file such as /proc/cpuinfo."""
    try:
        for line in Path(path).read_text().splitlines():
            key, found, value = line.partition(separator)
            if found and key.strip() == name:
                return value.strip().strip('"')
    except OSError:
        pass
    return None


def virtual():
    flags = field("/proc/cpuinfo", "flags") or ""
    return "hypervisor" in flags.split()


def package_versions():
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def commit():
    """The commit measured, with a + when the tree had changes that no commit has."""
    head = first_line(["git", "rev-parse", "--short", "HEAD"])
    # What benchmarks write themselves is no change of what they measure.
    changed = head and first_line(["git", "status", "--porcelain", "--", "src", "benchmarks", "setup.py"])
    return f"{head}+" if changed else head


def describe(compiler_flags):
    memory_kb = int((field("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": field("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": f"{os.cpu_count()}{', in a virtual machine' if virtual() else ''}",
        "memory": f"{memory_kb / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "distribution": field("/etc/os-release", "PRETTY_NAME", "=") or "unknown",
        "compiler": first_line([os.environ.get("CC", "cc"), "--version"]) or "unknown",
        "compiler_flags": compiler_flags,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "commit": commit(),
        "packages": package_versions(),
    }
