"""What the documentation quotes of the program's messages, the program says."""

import re
import textwrap
from pathlib import Path

import pytest

from ioring.ring import unavailable

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.any_kernel, pytest.mark.any_python, pytest.mark.no_sanitizer]


def test_deploy_quotes_what_the_doctor_says(monkeypatch):
    monkeypatch.setattr(unavailable, "_read_int", lambda path: None)  # as where no sysctl forbids it
    said = textwrap.wrap(unavailable.explain(1), 100, initial_indent="  ", subsequent_indent="  ")
    quoted = re.search(
        r"^io_uring       not available\n((?:  .*\n)+)", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE
    )
    assert quoted[1].splitlines() == said
