"""The documentation site: it is built without a warning, complete, and works in a browser without another host."""

import dataclasses
import html.parser
import inspect
import os
import subprocess
import sys
import urllib.parse
import zlib
from pathlib import Path

import pytest

import ioring
import shared
from browser import PROGRAMS, Browser
from ioring.http import Configuration
from needed import needs_program
from serving import Serving, without_preloaded

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.any_kernel,
    pytest.mark.any_python,
    pytest.mark.no_sanitizer,
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site's folder. Processes that share the tests share it too: the first one builds it."""
    with shared.place(tmp_path_factory, "site") as folder:
        if not folder.exists():
            build(folder)
    return folder


def build(folder):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        check=False,
        cwd=ROOT,
        env={**without_preloaded(), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")


class Reading(html.parser.HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        elif tag == "link" and attributes.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(attributes["href"])
        elif tag in ("script", "img", "source", "iframe") and attributes.get("src"):
            self.loaded.append(attributes["src"])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Reading(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def inside(page, link):
    """The file that a link within the site leads to, and the anchor."""
    parts = urllib.parse.urlsplit(link)
    target = Path(os.path.normpath(page.parent / urllib.parse.unquote(parts.path))) if parts.path else page
    return target / "index.html" if target.is_dir() else target, urllib.parse.unquote(parts.fragment)


def test_every_page_of_the_documentation_is_there(site, pages):
    names = {path.relative_to(ROOT / "docs").with_suffix("") for path in ROOT.glob("docs/**/*.md")}
    names |= {Path(name) for name in ("changes", "contributing", "security")}
    names = {name.parent if name.name == "index" else name for name in names}
    assert {page.relative_to(site).parent for page in pages} == names


def test_links_lead_somewhere(pages):
    wrong = []
    for page, reading in pages.items():
        for link in reading.links:
            if urllib.parse.urlsplit(link).scheme:
                continue
            target, anchor = inside(page, link)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                wrong.append((page, link))
    assert wrong == []
    assert sum(len(reading.links) for reading in pages.values()) > 1000


def test_nothing_is_loaded_from_elsewhere(pages):
    for page, reading in pages.items():
        assert [link for link in reading.loaded if urllib.parse.urlsplit(link).netloc] == [], page
        assert all(inside(page, link)[0].is_file() for link in reading.loaded), page


def public(cls):
    inherited = {name for base in cls.__mro__ if not base.__module__.startswith("ioring") for name in dir(base)}
    return {name for name in dir(cls) if not name.startswith("_") and name not in inherited}


def test_every_public_name_is_in_the_reference(site):
    """What griffe finds in the sources is compared with what Python finds in the modules."""
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    anchors = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    text = "".join(page.read_text() for page in ROOT.glob("docs/reference/*.md"))

    def shown(name):
        # What has a heading of its own in the text has none by mkdocstrings, and no anchor then.
        return f"ioring.{name}" in anchors or f"::: ioring.{name}\n" in text

    missing = []
    for name in [*ioring.__all__, "open"]:
        value = getattr(ioring, name)
        members = []
        if inspect.isclass(value) and issubclass(value, int):
            members = value.__members__
        elif inspect.isclass(value):
            # Some say in the docstring of the class what their attributes are.
            attributes = (value.__doc__ or "").partition("Attributes:\n")[2]
            members = [member for member in public(value) if member not in attributes]
        missing += [each for each in (name, *(f"{name}.{member}" for member in members)) if not shown(each)]
    assert missing == []


def test_every_option_of_the_server_is_in_the_reference(site):
    page = (site / "reference/serve/index.html").read_text()
    fields = [field for field in dataclasses.fields(Configuration) if field.metadata]
    assert [field.name for field in fields if f"<code>--{field.name.replace('_', '-')}</code></td>" not in page] == []
    assert len(fields) > 40


@needs_program(*PROGRAMS)
def test_the_site_in_a_browser(site, tmp_path):
    """Opened, followed by its navigation, searched: by our own server, and nothing is asked of another host."""
    folder = tmp_path / "empty"
    folder.mkdir()
    with Serving(folder, str(site)) as server, Browser(tmp_path / "profile") as browser:
        page = browser.page()
        page.open(f"{server.url}/")
        assert page.evaluate("document.title") == "ioring"
        page.leave_by("document.querySelector('nav a[href=\"reference/sqe/\"]').click()")
        assert page.evaluate("document.querySelector('h1').firstChild.textContent") == "Sqe"
        assert "prep_multishot_accept_direct" in page.evaluate("document.body.textContent")
        page.evaluate(
            """(() => {
                const box = document.querySelector("[data-md-component=search-query]");
                box.focus();
                box.value = "prep_fixed_fd_install";
                box.dispatchEvent(new Event("input", {bubbles: true}));
                box.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
            })()"""
        )
        link = page.until("document.querySelector('.md-search-result__link')?.href")
        assert link.startswith(f"{server.url}/reference/")
        page.open(link)
        assert page.evaluate("document.querySelector('h1').firstChild.textContent") in ("Sqe", "Flags and numbers")
        page.open(f"{server.url}/architecture/")
        assert page.evaluate("document.querySelectorAll('article img').length") == 2
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        page.resize(360, 800)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.troubles() == []
        asked = {urllib.parse.urlsplit(url) for url, _, _ in page.responses()}
        assert {url.netloc for url in asked if url.scheme not in ("data", "blob")} == {f"127.0.0.1:{server.port}"}
        page.close()
    assert server.errors == []
