"""Draws docs/images/wings.svg and walks.svg from docs/images/architecture.txt: python scripts/site/draw.py

Boxes in columns. Widths are guessed from the number of letters, so that a text gives the same picture everywhere.
"""

import re
import textwrap
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

IMAGES = Path(__file__).parent.parent.parent / "docs/images"

COLOURS = {
    "cli": "#ede7f6",
    "http": "#e3f2fd",
    "files": "#e8f5e9",
    "loop": "#fff8e1",
    "ring": "#fbe9e7",
    "kernel": "#eceff1",
    "*": "#ffffff",
}
INK, GREY = "#263238", "#607d8b"
WIDTH, GAP, MARGIN = 330, 26, 16
LINE = 17
LETTERS = 43
"""So many fit into a line of a box."""


class Wing(NamedTuple):
    name: str
    what: str
    public: str
    inside: str


class Step(NamedTuple):
    place: str
    what: str

    @property
    def wing(self):
        return self.place.partition("/")[0]


def read(path=IMAGES / "architecture.txt"):
    """The wings, and the walks: pairs of a name and its steps."""
    wings, walks = [], []
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("wing "):
            wings.append(Wing(cells[0].removeprefix("wing "), *cells[1:]))
        elif line.startswith("walk "):
            walks.append((line.removeprefix("walk "), []))
        else:
            walks[-1][1].append(Step(*cells))
    return wings, walks


def functions_of(what):
    """The names of the functions that a text mentions."""
    return re.findall(r"(\w+)\(\)", what)


def box(x, y, width, height, colour):
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{colour}" stroke="{GREY}"/>'


def text(x, y, words, style="", colour=INK):
    return f'<text x="{x}" y="{y}" fill="{colour}"{style and f" {style}"}>{escape(words)}</text>'


def arrow(x, top, bottom):
    return f'<path d="M{x} {top}V{bottom - 1}" stroke="{GREY}" marker-end="url(#tip)"/>'


def picture(title, width, height, parts):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13" role="img">'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{GREY}"/></marker></defs>'
    )
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", tip, ground, *parts, "</svg>"]) + "\n"


BOLD = 'font-weight="bold"'
CODE = 'font-family="monospace"'


def wings_picture(wings):
    width, height = 640, 62
    parts, y = [], MARGIN
    for index, wing in enumerate(wings):
        parts.append(box(MARGIN, y, width - 2 * MARGIN, height, COLOURS[wing.name]))
        parts.append(text(MARGIN + 14, y + 26, wing.name, f'{BOLD} font-size="16"'))
        parts.append(text(MARGIN + 14, y + 47, wing.what))
        parts.append(text(MARGIN + 210, y + 26, wing.public, CODE))
        parts.append(text(MARGIN + 210, y + 47, wing.inside, colour=GREY))
        y += height
        if index < len(wings) - 1:
            parts.append(arrow(width // 2, y, y + GAP))
            y += GAP
    return picture("The wings of ioring: each uses those below it", width, y + MARGIN, parts)


def walks_picture(walks):
    parts, bottom = [], 0
    for column, (name, steps) in enumerate(walks):
        x, y = MARGIN + column * (WIDTH + GAP), MARGIN + 14
        parts.append(text(x, y, name, f'{BOLD} font-size="16"'))
        y += 14
        for index, step in enumerate(steps):
            lines = textwrap.wrap(step.what, LETTERS)
            named = step.place != "*"
            height = LINE * (len(lines) + named) + 14
            parts.append(box(x, y, WIDTH, height, COLOURS[step.wing]))
            at = y + LINE + 3
            if named:
                parts.append(text(x + 10, at, step.place, f"{CODE} {BOLD}"))
                at += LINE
            for line in lines:
                parts.append(text(x + 10, at, line))
                at += LINE
            y += height
            if index < len(steps) - 1:
                parts.append(arrow(x + WIDTH // 2, y, y + GAP - 4))
                y += GAP - 4
        bottom = max(bottom, y)
    width = 2 * MARGIN + len(walks) * WIDTH + (len(walks) - 1) * GAP
    return picture("Three walks through the wings", width, bottom + MARGIN, parts)


def pictures():
    wings, walks = read()
    return {IMAGES / "wings.svg": wings_picture(wings), IMAGES / "walks.svg": walks_picture(walks)}


if __name__ == "__main__":
    for path, content in pictures().items():
        path.write_text(content)
