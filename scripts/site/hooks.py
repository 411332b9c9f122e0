"""Called by mkdocs: pages that lie beside docs/, links that lead out of it, and the options of ioring serve.

On GitHub the documentation is read as it lies in the repository. On the site CHANGELOG.md and its like are pages too,
and links to other files of the repository lead to GitHub.
"""

import dataclasses
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

from ioring.http import Configuration

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = "https://github.com/ioring/ioring/blob/main/"
PAGES = {"CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
OPTIONS = re.compile(r"^<!-- options\b.*-->$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s:#]+)((?:#[^)\s]*)?)\)")


def on_files(files, config):
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    of_page = {page: source for source, page in PAGES.items()}
    path = page.file.src_uri
    source = of_page.get(path, f"docs/{path}")

    def replace(match):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if target in PAGES:
            inside = PAGES[target]
        elif target == "README.md":
            inside = "index.md"
        elif target.startswith("docs/"):
            inside = target.removeprefix("docs/")
        else:
            assert (ROOT / target).exists(), f"{source}: {match[1]}"
            return f"]({REPOSITORY}{target}{match[2]})"
        return f"]({posixpath.relpath(inside, posixpath.dirname(path) or '.')}{match[2]})"

    return OPTIONS.sub(lambda _: table_of_options(), LINK.sub(replace, markdown))


def table_of_options():
    rows = ["| option | default | |", "|---|---|---|"]
    for field in dataclasses.fields(Configuration):
        if not field.metadata:
            continue
        if field.metadata["flag"]:
            default = "on" if field.default else "off"
        else:
            default = "" if field.default in ("", (), -1) else f"{field.default}".removesuffix(".0")
        what = field.metadata["help"].replace("|", r"\|")
        if field.metadata["choices"]:
            what += f" One of: {', '.join(filter(None, field.metadata['choices']))}."
        if field.metadata["several"] and "repeated" not in what:
            what += " May be repeated."
        rows.append(f"| `--{field.name.replace('_', '-')}` | {default} | {what} |")
    return "\n".join(rows)
