"""The C programs and the certificate that measurements need, made when they are missing or older than their sources."""

import os
import shlex
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = "-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra"
PROGRAMS = {
    "uring_echo": ("uring_echo.c",),
    "epoll_echo": ("epoll_echo.c",),
    "nop": ("nop.c",),
    "load": (
        "load.c",
        "load_echo.c",
        "load_connect.c",
        "load_http.c",
        "load_transfer.c",
        "load_tls.c",
        "load_websocket.c",
        "-lssl",
        "-lcrypto",
    ),
}
NEEDED = "a C compiler, OpenSSL and its headers are needed; scripts/bench installs them"


def make_all(build, tell):
    build.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in (*SOURCES.glob("*.[ch]"), Path(__file__)))
    for name, parts in PROGRAMS.items():
        program = build / name
        if not program.exists() or program.stat().st_mtime < newest:
            tell(f"compiling {name}")
            compiler = shlex.split(os.environ.get("CC", "cc"))
            # Under another name first: a program half written must not pass for a new one.
            run([*compiler, *FLAGS.split(), "-o", f"{program}.new", *parts])
            os.replace(f"{program}.new", program)
    if not (build / "certificate.pem").exists():
        make_certificate(build)


def make_certificate(build):
    key, certificate = build / "key.pem", build / "certificate.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=localhost"
    run([*request.split(), "-keyout", str(key), "-out", f"{certificate}.new"])
    os.replace(f"{certificate}.new", certificate)


def run(command):
    try:
        subprocess.run(command, cwd=SOURCES, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise SystemExit(f"{command[0]} is not installed: {NEEDED}") from error
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{shlex.join(command)} failed:\n{error.stderr}\n({NEEDED})") from error
