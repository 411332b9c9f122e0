"""Half a minute of made-up bytes for the HTTP server: requests (fuzz_http.py), frames of WebSockets
(fuzz_websocket.py), and what is asked of folders (fuzz_static.py).

IORING_FUZZ_SECONDS says for how long otherwise.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
SECONDS = int(os.environ.get("IORING_FUZZ_SECONDS", "30"))
SECONDS_LONG = int(os.environ.get("IORING_FUZZ_SECONDS", "1200"))
PROGRAMS = {
    "fuzz_http.py": 4096,
    "fuzz_websocket.py": 100_000,
    "fuzz_static.py": 4096,
}  # and how long their inputs are at most


def fuzz(tmp_path, program, seconds):
    pytest.importorskip("atheris", reason="atheris is not installed")
    options = [f"-max_total_time={seconds}", f"-max_len={PROGRAMS[program]}", "-print_final_stats=1"]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(program), *options, f"-artifact_prefix={tmp_path}/"],
        capture_output=True,
        text=True,
        timeout=seconds + 100,
        check=False,
        env=os.environ | {"PYTHONPATH": str(HELPERS)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    executed = int(done.stderr.rpartition("stat::number_of_executed_units:")[2].split()[0])
    assert executed > 20 * seconds


@pytest.mark.no_sanitizer  # which has to be there before libFuzzer
@pytest.mark.any_kernel
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("program", PROGRAMS)
def test_fuzz(tmp_path, program):
    fuzz(tmp_path, program, SECONDS // len(PROGRAMS))


@pytest.mark.long
@pytest.mark.no_sanitizer
@pytest.mark.timeout(SECONDS_LONG + 120)
@pytest.mark.parametrize("program", PROGRAMS)
def test_fuzz_for_long(tmp_path, program):
    fuzz(tmp_path, program, SECONDS_LONG)
