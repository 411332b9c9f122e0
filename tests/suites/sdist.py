"""Tests out of the source distribution of a package, of one version, kept in build/suites."""

import hashlib
import pathlib
import subprocess
import sys
import tarfile
import tempfile

CACHES = pathlib.Path(__file__).parents[2] / "build" / "suites"


class Unavailable(Exception):
    """The tests are not here and cannot be had; says why."""


class Sdist:
    """A pinned source distribution.

    ``folders`` are what is kept of it; ``others`` says where files go that are wanted besides, by their paths in it.
    """

    def __init__(self, name, version, sha256, others=None, folders=("tests",)):
        self.name = name
        self.version = version
        self.sha256 = sha256
        self.others = others or {}
        self.folders = tuple(f"{folder}/" for folder in folders)
        self.cache = CACHES / f"{name}-{version}"

    def fetch(self):
        """Brings the tests into the cache, unless they are there."""
        if self.cache.is_dir():
            return
        try:
            CACHES.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHES) as folder:
                self.unpack(self.download(folder), pathlib.Path(folder, "new"))
                pathlib.Path(folder, "new").rename(self.cache)
        except OSError as error:
            if not self.cache.is_dir():  # another process may have been first
                raise Unavailable(f"{self.name}'s tests cannot be kept in {self.cache}: {error}") from error

    def download(self, folder):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--no-binary", self.name, "--dest", folder, f"{self.name}=={self.version}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        sources = pathlib.Path(folder, f"{self.name}-{self.version}.tar.gz")
        if not sources.exists():
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Unavailable(f"{self.name}'s sources could not be downloaded: {last}")
        if hashlib.sha256(sources.read_bytes()).hexdigest() != self.sha256:
            raise Unavailable(f"what was downloaded as {self.name} {self.version} is not what was expected")
        return sources

    def unpack(self, sources, folder):
        """Takes out what is wanted, and nothing else."""
        with tarfile.open(sources) as archive:
            for member in archive.getmembers():
                _, _, path = member.name.partition("/")
                if not path.startswith(self.folders) or ".." in path:
                    path = self.others.get(path)
                if path is not None and member.isfile():
                    target = folder / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
