"""What is left out, and why: the lines of skips.txt."""

import dataclasses
import fnmatch
import pathlib
import sys

FILE = pathlib.Path(__file__).with_name("skips.txt")

KINDS = ("without", "again", "skip")
SHARE_MAX = 0.02
"""How many of the tests may be left out by lines of the kind `skip`."""


@dataclasses.dataclass(frozen=True)
class Line:
    number: int
    suite: str
    kind: str
    pattern: str
    versions: str
    reason: str

    @property
    def module(self):
        return self.pattern.partition(".")[0]

    def applies(self, version=None):
        """Whether the line is meant for a Python, (3, 12) say; for the one that runs if none is given."""
        version = version or sys.version_info[:2]
        first, dash, last = self.versions.partition("-")
        first = tuple(map(int, first.split("."))) if first else (0,)
        last = tuple(map(int, last.split("."))) if last else (first if not dash else (99,))
        return first <= version <= last

    def matches(self, test):
        return fnmatch.fnmatchcase(test, self.pattern)


def parse(text):
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        suite, kind, pattern, *rest = line.split(None, 3)
        reason = rest[0].strip() if rest else ""
        versions = "-"
        if reason.startswith("["):
            versions, _, reason = reason[1:].partition("]")
        if kind not in KINDS or not reason.strip() or "." not in pattern:
            raise ValueError(f"{FILE.name}, line {number}: want SUITE KIND MODULE.CLASS.TEST [VERSIONS] REASON")
        lines.append(Line(number, suite, kind, pattern, versions, reason.strip()))
    return lines


def all_lines():
    return parse(FILE.read_text(encoding="utf-8"))


def lines(suite, module):
    """The lines for a module that apply to this Python."""
    return [line for line in all_lines() if line.suite == suite and line.module == module and line.applies()]
