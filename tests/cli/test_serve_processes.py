"""What `ioring serve` makes of its process: user, group, umask, folder, and the file with its number."""

import json
import os
import pwd
import signal
import subprocess
import sys

import pytest

from ioring.http import Configuration, ConfigurationError
from serving import APP, WAIT_S, Serving, refused

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

WHO = (
    """
import json, os, sys, threading
imported = os.geteuid(), os.getegid()
"""
    + APP
    + """
    said = {
        "imported": imported, "user": os.getresuid(), "group": os.getresgid(), "groups": sorted(os.getgroups()),
        "folder": os.getcwd(), "pid": os.getpid(),
    }
    if scope["path"] == "/file":
        with open("made", "w"): pass
        said = {"mode": os.stat("made").st_mode & 0o777}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
"""
)


@as_root
@pytest.mark.parametrize("workers", ["1", "2"])
def test_user(open_folder, workers):
    who = pwd.getpwnam("daemon")
    options = ("--user", "daemon", "--workers", workers)
    with Serving(open_folder, "main:app", *options, application=WHO) as server:
        said = json.loads(server.get())
        assert said["imported"] == [who.pw_uid, who.pw_gid]
        assert said["user"] == [who.pw_uid] * 3
        assert said["group"] == [who.pw_gid] * 3
        assert said["groups"] == sorted(os.getgrouplist("daemon", who.pw_gid))
    assert server.errors == []


@as_root
def test_group_and_numbers(open_folder):
    with Serving(open_folder, "main:app", "--user", "12345", "--group", "daemon", application=WHO) as server:
        said = json.loads(server.get())
    group = pwd.getpwnam("daemon").pw_gid
    assert (said["user"], said["group"], said["groups"]) == ([12345] * 3, [group] * 3, [group])
    with Serving(open_folder, "main:app", "--group", "23456", application=WHO) as server:
        said = json.loads(server.get())
    assert (said["user"], said["group"], said["groups"]) == ([0] * 3, [23456] * 3, [23456])


@as_root
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_root_alone_may_read(open_folder, certificates, tmp_path, workers):
    """Certificates are read, and the number is written, while the process still is root's."""
    number = certificates.issue()
    (tmp_path / "key.pem").chmod(0o600)
    tls = ("--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(tmp_path / "key.pem"))
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    paths = ("--pidfile", str(run / "pid"))
    options = ("--user", "daemon", "--workers", workers, *tls, *paths, "--lifespan", "off")
    with Serving(open_folder, "main:app", *options, application=SEEN) as server:
        assert certificates.shown(server) == number
        assert int((run / "pid").read_text()) == server.process.pid
        if workers == "2":  # the supervisor is root's still, and reads new ones
            number = certificates.issue()
            server.signal(signal.SIGHUP)
            server.wait_for("all workers are replaced")
            assert certificates.shown(server) == number
    assert not (run / "pid").exists() or (run / "pid").read_text() == ""


SEEN = """
import os
assert os.geteuid() != 0
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"('https', '127.0.0.1')"})
"""

NOBODY = """
import os, sys
from ioring.__main__ import main  # what lies in root's folders cannot be imported later
import ioring.cli.serve
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
sys.argv = ["ioring", "serve", *sys.argv[1:]]
main()
"""


def started_by_nobody(*arguments):
    """What the command says that somebody starts who is not root."""
    command = [sys.executable, "-c", NOBODY] if os.geteuid() == 0 else [sys.executable, "-m", "ioring", "serve"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False, cwd="/")
    assert done.returncode == 1
    return done.stderr


def test_who_is_not_root():
    said = started_by_nobody("--user", "daemon")
    assert said == "ioring serve: user: only a server that root starts can become daemon; leave it out\n"
    assert "group: only a server that root starts can become daemon" in started_by_nobody("--group", "daemon")


def test_nobody_of_that_name():
    assert "user: there is no user 'no-such-user'" in refused("--user", "no-such-user")
    assert "group: there is no group 'no-such-group'" in refused("--group", "no-such-group")
    assert "user: there is no user '4294967295'" in refused("--user", str((1 << 32) - 1))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_umask_and_folder(tmp_path, workers):
    other = tmp_path / "other"
    other.mkdir()
    (other / "main.py").write_text(WHO)
    options = ("--chdir", str(other), "--umask", "037", "--workers", workers)
    with Serving(tmp_path, "main:app", *options, application="") as server:
        assert json.loads(server.get())["folder"] == str(other)
        assert json.loads(server.get("/file")) == {"mode": 0o640}
    assert (other / "made").exists()
    assert "chdir: /nowhere: No such file or directory" in refused("--chdir", "/nowhere")


@pytest.mark.parametrize("umask", ["9", "0o27", "1777", "-1", "7 7", "u=rwx"])
def test_umask_that_is_none(umask):
    with pytest.raises(ConfigurationError, match=r"umask: .* is none: octal digits are wanted, such as 027"):
        Configuration(umask=umask)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_file_with_the_number(tmp_path, workers):
    path = tmp_path / "pid"
    path.write_text("999999999\n")  # of a process that is gone
    with Serving(tmp_path, "main:app", "--pidfile", "pid", "--workers", workers) as server:
        assert path.read_text() == f"{server.process.pid}\n"
        said = refused("--pidfile", str(path), "--port", "0")
        assert f"that of process {server.process.pid}, which runs" in said
        assert path.read_text() == f"{server.process.pid}\n"
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
        assert not path.exists()


def test_file_of_somebody_else_stays(tmp_path):
    path = tmp_path / "pid"
    with Serving(tmp_path, "main:app", "--pidfile", "pid") as server:
        path.unlink()
        path.write_text("1\n")
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert path.read_text() == "1\n"


def test_no_file_is_left_when_it_does_not_start(tmp_path):
    (tmp_path / "main.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    for workers in ("1", "2"):
        options = ("--pidfile", "pid", "--port", "0", "--workers", workers)
        assert "no database" in refused("main:app", *options, cwd=tmp_path)
        assert not (tmp_path / "pid").exists()
    assert "pidfile: /nowhere/pid: No such file or directory" in refused("--pidfile", "/nowhere/pid", "--port", "0")
    assert "Is a directory" in refused("--pidfile", str(tmp_path), "--port", "0")
