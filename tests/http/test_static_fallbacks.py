"""Folders: what is answered where there is no file, and links that lead out."""

import os

import pytest

import ioring
from http_servers import LAST, body_of, lifeless

SERVING = {"kind": "folder"}


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "inside"
    (inside / "assets").mkdir(parents=True)
    (inside / "index.html").write_text("the application")
    (inside / "assets" / "app.js").write_text("code")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file.txt").write_text("from outside")
    return inside


def asked(server, path, method=b"GET", more=b""):
    said = server.talk(LAST.replace(b"GET / ", b"%b %b " % (method, path)).replace(b"Host", more + b"Host"))
    return int(said.split(b" ", 2)[1]), body_of(said), said.partition(b"\r\n\r\n")[0]


def test_page_for_what_is_missing(serving, folder):
    (folder / "404.html").write_text("nothing here")
    with serving(folder) as server:
        for path in (b"/missing", b"/assets/missing.js", b"/assets/", b"/..%2f", b"/.hidden"):
            for _ in range(2):
                status, body, head = asked(server, path)
                if path != b"/..%2f":
                    assert (status, body) == (404, b"nothing here"), path
                    assert b"content-type: text/html" in head
                    assert b"etag" not in head
        status, body, head = asked(server, b"/missing", b"HEAD")
        assert (status, body) == (404, b"")
        assert b"content-length: 12" in head
        # It is no file that was asked for.
        assert asked(server, b"/missing", more=b"If-None-Match: *\r\nRange: bytes=0-3\r\n")[:2] == (
            404,
            b"nothing here",
        )
        assert asked(server, b"/assets/app.js")[:2] == (200, b"code")
        assert asked(server, b"/missing", b"POST")[0] == 405
        (folder / "404.html").write_bytes(b"x" * 200_000)  # which is not kept in memory
        assert asked(server, b"/missing")[:2] == (404, b"x" * 200_000)
        (folder / "404.html").unlink()
        assert asked(server, b"/missing")[:2] == (404, b"Not Found\n")
    assert server.complaints == []


def test_single_page_application(serving, folder):
    with serving(folder, spa=True) as server:
        for path in (b"/", b"/users/5", b"/users/5/", b"/assets/", b"/users?x=a.b", b"/a.b/c"):
            status, body, head = asked(server, path)
            assert (status, body) == (200, b"the application"), path
            assert b"etag" in head
        assert asked(server, b"/assets/app.js")[:2] == (200, b"code")
        assert asked(server, b"/assets/old.js")[0] == 404
        assert asked(server, b"/users", more=b"If-None-Match: *\r\n")[0] == 304
        assert asked(server, b"/users", b"POST")[0] == 405
        (folder / "404.html").write_text("nothing here")
        assert asked(server, b"/assets/old.js")[:2] == (404, b"nothing here")
        (folder / "index.html").unlink()
        assert asked(server, b"/users")[:2] == (404, b"nothing here")
    with serving(folder) as server:
        assert asked(server, b"/users/5")[0] == 404


def test_below_a_mount(serving, folder):
    async def application(scope, receive, send):
        raise AssertionError

    with serving(lifeless(application), kind="asgi", mount={"/app": str(folder)}, spa=True) as server:
        assert asked(server, b"/app/users/5")[:2] == (200, b"the application")
        assert asked(server, b"/app/missing.js")[0] == 404
    assert server.complaints == []


def test_as_an_application(serving, folder):
    (folder / "404.html").write_text("nothing here")
    with serving(ioring.StaticFiles(folder, spa=True), kind="asgi") as server:
        assert asked(server, b"/users/5")[:2] == (200, b"the application")
        assert asked(server, b"/missing.js")[:2] == (404, b"nothing here")
    assert server.complaints == []


def test_links_out_of_the_folder(serving, folder):
    os.symlink("../outside/file.txt", folder / "file.txt")
    os.symlink(folder.parent / "outside", folder / "away")
    os.symlink("/proc/self/fd", folder / "descriptors")
    paths = (b"/file.txt", b"/away/file.txt")
    with serving(folder) as server:
        assert [asked(server, path)[0] for path in paths] == [404, 404]
    with serving(folder, follow_links=True) as server:
        for _ in range(2):
            assert [asked(server, path)[:2] for path in paths] == [(200, b"from outside")] * 2
        # Paths stay inside all the same.
        assert asked(server, b"/../outside/file.txt")[0] == 404
        assert asked(server, b"/away/..%2f..%2foutside/file.txt")[0] == 404
        assert asked(server, b"/descriptors/0")[0] == 404
    with serving(ioring.StaticFiles(folder, follow_links=True), kind="asgi") as server:
        assert asked(server, b"/file.txt")[:2] == (200, b"from outside")
