"""The page that shows what is in a folder."""

import html
import os
import stat
import time
import urllib.parse
from collections.abc import Callable

NAMES_MAX = 10000
"""Names that are shown, at most."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }}
table {{ width: 100%; border-collapse: collapse; }}
td, th {{ padding: .3rem 0 .3rem 1rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
td:first-child, th:first-child {{ padding-left: 0; text-align: left; white-space: normal; overflow-wrap: anywhere; }}
tr + tr {{ border-top: 1px solid #8884; }}
@media (max-width: 36rem) {{ td + td, th + th {{ font-size: .8rem; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>
<tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr>
{rows}</table>
{note}</body>
</html>
"""


def page_of(path: bytes, entries: list[tuple[bytes, os.stat_result]], more: bool) -> bytes:
    """The page, as bytes.

    Parameters:
        path: of the folder, decoded, with a slash at its end.
        entries: pairs of a name as bytes and an ``os.stat_result``.
        more: whether there are more names than entries.
    """
    title = html.escape(f"Index of {shown(path)}")
    rows = []
    if path.strip(b"/"):
        rows.append('<tr><td><a href="../">../</a></td><td></td><td></td></tr>\n')
    for name, status in sorted(entries, key=lambda entry: (not stat.S_ISDIR(entry[1].st_mode), entry[0])):
        folder = stat.S_ISDIR(status.st_mode)
        # "./" keeps a name such as "a:b" from being taken for a scheme.
        link = "./" + urllib.parse.quote(name) + ("/" if folder else "")
        text = shown(name) + ("/" if folder else "")
        size = "" if folder else f"{status.st_size:,}"
        date = time.strftime("%Y-%m-%d %H:%M", time.gmtime(status.st_mtime))
        rows.append(
            f'<tr><td><a href="{html.escape(link)}">{html.escape(text)}</a></td><td>{size}</td><td>{date}</td></tr>\n'
        )
    note = f"<p>Only {len(entries)} names are shown.</p>\n" if more else ""
    return PAGE.format(title=title, rows="".join(rows), note=note).encode("utf-8")


def shown(name: bytes) -> str:
    """Text for a name, whatever its bytes are."""
    return name.decode("utf-8", "replace")


def entries_of(
    descriptor: int, hidden: bool, look: Callable[[bytes], os.stat_result | None]
) -> tuple[list[tuple[bytes, os.stat_result]], bool]:
    """What is in an open folder: entries for ``page_of``, and whether there are more.

    What could not be asked for is left out.

    Parameters:
        hidden: whether names are shown that begin with a dot.
        look: called with a name as bytes; its ``os.stat_result``, or None.
    """
    entries: list[tuple[bytes, os.stat_result]] = []
    for text in os.listdir(descriptor):
        name = os.fsencode(text)
        if name.startswith(b".") and not hidden:
            continue
        if len(entries) == NAMES_MAX:
            return entries, True
        status = look(name)
        if status is not None and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            entries.append((name, status))
    return entries, False
