"""Folders on `ioring serve` as curl sees them."""

import email.parser
import email.policy
import os
import re
import time

import pytest

from curls import (
    AGO,
    BLOCK,
    COMPRESSED,
    EARLIER,
    LARGE_COUNT,
    LARGE_HASH,
    MIB,
    THEN,
    Running,
    curl,
    make_site,
    printed,
    start,
    version,
)
from needed import needs_program
from serving import WAIT_S

pytestmark = needs_program("curl")


@pytest.fixture(scope="module", params=["ring", "asyncio"])
def site(request, tmp_path_factory):
    """A folder."""
    folder = tmp_path_factory.mktemp("site")
    make_site(folder / "public")
    with start(folder, "public", "--listing", loop=request.param) as server:
        server.public = folder / "public"
        yield server


def test_folder(site):
    answer = curl(site, "/")
    assert (answer.status, answer.body) == (200, b"<p>index</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["last-modified"] == THEN
    answer = curl(site, "/sub", "-L")
    assert (answer.said["num_redirects"], answer.said["url_effective"]) == (1, f"{site.url}/sub/")
    assert b'<a href="./a%20b.txt">a b.txt</a>' in answer.body
    assert curl(site, "/sub/a%20b.txt?version=1").body == b"inner"
    assert curl(site, "/nothing").status == 404
    assert curl(site, "/nothing", "-f", code=22).status == 404
    assert curl(site, "/", "-d", "hello").status == 405
    answer = curl(site, "/large.bin", "-I")
    assert (answer.headers["content-length"], answer.headers["accept-ranges"]) == (f"{LARGE_COUNT * MIB}", "bytes")
    assert answer.said["size_download"] == 0


def test_large_file(site):
    with Running(site, "/large.bin") as client:
        assert client.hashed() == (LARGE_HASH, LARGE_COUNT * MIB)


@pytest.mark.parametrize("name", ["bytes.bin", "large.bin"])
def test_ranges(site, name):
    size = (site.public / name).stat().st_size
    with open(site.public / name, "rb") as content:
        for given, begin, end in (
            ("0-99", 0, 100),
            ("-5", size - 5, size),
            (f"{size - 10}-", size - 10, size),
            (f"{size - 1}-{2 * size}", size - 1, size),
            ("5000-9999", 5000, 10000),
        ):
            answer = curl(site, f"/{name}", "-r", given)
            content.seek(begin)
            assert (answer.status, answer.body) == (206, content.read(end - begin))
            assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
            assert answer.headers["content-length"] == f"{end - begin}"
        answer = curl(site, f"/{name}", "-r", f"{size}-")
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize("name", ["bytes.bin", "large.bin"])
def test_several_ranges(site, name):
    size = (site.public / name).stat().st_size
    answer = curl(site, f"/{name}", "-r", "0-9,5000-5999,-7")
    assert answer.status == 206
    head = f"content-type: {answer.headers['content-type']}\n\n".encode()
    whole = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.body)
    parts = [(part["content-range"], part.get_payload(decode=True)) for part in whole.iter_parts()]
    with open(site.public / name, "rb") as content:
        for (given, data), (begin, count) in zip(parts, [(0, 10), (5000, 1000), (size - 7, 7)], strict=True):
            content.seek(begin)
            assert (given, data) == (f"bytes {begin}-{begin + count - 1}/{size}", content.read(count))


def resumed(site, what, check=True):
    return printed(site, "-C", "-", "-o", "copy", "-w", what, f"{site.url}/middle.bin", check=check)


def test_resume(site):
    copy = site.folder / "copy"
    copy.write_bytes(BLOCK[:123_456])
    assert resumed(site, "%{http_code} %{size_download}") == f"206 {MIB - 123_456}"
    assert copy.read_bytes() == BLOCK
    # Which code curl ends with then depends on its version.
    assert resumed(site, "%{http_code}", check=False) == "416"
    assert copy.read_bytes() == BLOCK


def test_conditions(site):
    def status(*arguments):
        answer = curl(site, "/bytes.bin", *arguments)
        assert answer.status == 200 or answer.said["size_download"] == 0 or answer.status == 412
        return answer.status

    assert status("-z", THEN) == 304
    assert status("-z", EARLIER) == 200
    assert status("-z", f"-{THEN}") == 200
    assert status("-z", f"-{EARLIER}") == 412
    (site.folder / "tag").unlink(missing_ok=True)
    keep = ("--etag-save", "tag", "--etag-compare", "tag")
    assert status(*keep) == 200
    tag = (site.folder / "tag").read_text().strip()
    assert re.fullmatch(r'"[^"]+"', tag)
    assert status(*keep) == 304
    (site.public / "bytes.bin").write_bytes(bytes(range(256)) * 40)
    try:
        deadline = time.monotonic() + WAIT_S  # for so long as a server may take a file to be what it was
        while status(*keep) == 304:
            assert time.monotonic() < deadline
        assert (site.folder / "tag").read_text().strip() != tag
        assert status("-H", f"If-Match: {tag}") == 412
        assert status("-H", f"If-Range: {tag}", "-r", "0-9") == 200
    finally:
        os.utime(site.public / "bytes.bin", (AGO, AGO))


def test_copy_that_is_kept(site):
    """The time of a copy is that of the file, and says whether there is a newer one."""
    copy = site.folder / "body"
    assert curl(site, "/sub/a%20b.txt", "-R").body == b"inner"
    assert copy.stat().st_mtime == AGO
    assert printed(site, "-R", "-z", "body", "-o", "body", "-w", "%{http_code}", f"{site.url}/sub/a%20b.txt") == "304"
    assert copy.read_bytes() == b"inner"


@pytest.mark.parametrize("coding", COMPRESSED)
def test_compressed(site, coding):
    """curl unpacks what it gets, and so would tell of anything wrong."""
    if {"gzip": "libz", "br": "brotli", "zstd": "zstd"}[coding] not in version():
        pytest.skip(f"curl is without {coding}")
    text = (site.public / f"{coding}.css").read_bytes()
    for _ in range(2):
        answer = curl(site, f"/{coding}.css", "--compressed")
        assert answer.headers["content-encoding"] == coding
        assert (answer.status, answer.body, answer.headers["vary"]) == (200, text, "accept-encoding")
        answer = curl(site, "/all.css", "--compressed", "-H", f"Accept-Encoding: {coding}")
        assert answer.headers["content-encoding"] == coding
        assert answer.body == (site.public / "all.css").read_bytes()
    answer = curl(site, f"/{coding}.css")
    assert "content-encoding" not in answer.headers
    assert answer.body == text


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/sub/%2e%2e%2f%2e%2e%2fsecret"),
        *("//../secret", "/sub/../secret", "/./secret", "/%2fetc/passwd", "/..%5csecret", "/%252e%252e/secret"),
        *("//etc/passwd", "/index.html/../../secret", "/index.html%00", "/../../../../../../../../../../etc/passwd"),
    ],
)
def test_ways_out(site, path):
    answer = curl(site, path, "--path-as-is")
    assert (answer.status, answer.body) == (404, b"Not Found\n")
    assert "location" not in answer.headers
