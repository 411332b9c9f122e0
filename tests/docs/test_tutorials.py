"""The tutorial of the server is true: its files, commands and answers are tried in the order in which they stand there.

Comments before its listings say what they are:

    <!-- file main.py -->   a file of that name
    <!-- server -->         starts a server, which runs until the next one is started
    <!-- command -->        runs in another terminal; what follows after <!-- output --> is what it prints
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from needed import needs_program
from serving import Serving, without_preloaded

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/server.md"
LISTING = re.compile(r"^<!-- (file \S+|server|command|output) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITTEN_ADDRESS = "http://127.0.0.1:8000"

pytestmark = [
    needs_program("curl"),
    pytest.mark.any_python,
]


def test_the_server_does_what_its_tutorial_says(tmp_path):
    listings = LISTING.findall(PAGE.read_text())
    assert {marker for marker, _ in listings} == {"file main.py", "server", "command", "output"}
    application, server, answered, checked = "", None, None, 0
    try:
        for marker, text in listings:
            if marker.startswith("file "):
                application = text
            elif marker == "server":
                if server:
                    server.__exit__()
                program, verb, *arguments = shlex.split(text)
                assert (program, verb) == ("ioring", "serve")
                server = Serving(tmp_path, *arguments, application=application).__enter__()
            elif marker == "command":
                if "curl" in text:
                    assert WRITTEN_ADDRESS in text
                    text = text.replace("curl", "curl --silent --show-error --fail")
                    text = text.replace(WRITTEN_ADDRESS, server.url)
                ran = subprocess.run(
                    ["sh", "-e", "-c", text],
                    check=False,
                    cwd=tmp_path,
                    env=without_preloaded(),
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                assert (ran.returncode, ran.stderr) == (0, ""), text
                answered = ran.stdout
            else:
                assert answered == text
                checked += 1
    finally:
        if server:
            server.__exit__()
    assert checked >= 2
    assert server.errors == []
