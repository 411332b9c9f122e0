"""A mixed load on one loop for a while: nothing is lost, doubled, out of order, or left over. See soak.py."""

import os
import time

import pytest

import ioring
from soak import soak

SANITIZED = bool(os.environ.get("IORING_SANITIZE"))
SECONDS = float(os.environ.get("IORING_SOAK_SECONDS", "10" if SANITIZED else "15"))
MINUTES = float(os.environ.get("IORING_SOAK_MINUTES", "60"))

modes = pytest.mark.parametrize("direct", [False, True], ids=["plain", "direct"])


def soaked(direct, folder, seconds):
    seed = int(os.environ.get("IORING_SOAK_SEED", time.time_ns()))
    soak(ioring.Loop(direct_descriptors=direct), folder, seconds, seed, print)


@modes
@pytest.mark.timeout(600)
def test_everything_at_once(direct, tmp_path):
    soaked(direct, tmp_path, SECONDS)


@modes
@pytest.mark.long
@pytest.mark.timeout(0)  # IORING_SOAK_MINUTES says how long
def test_everything_at_once_for_hours(direct, tmp_path):
    soaked(direct, tmp_path, MINUTES * 60)
