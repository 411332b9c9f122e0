"""uvicorn's own tests of HTTP, of WebSockets and of proxies, on our server: how is in tests/suites/uvicorn.py."""

import pytest

from suites import sdist, uvicorn

pytestmark = [pytest.mark.timeout(uvicorn.LIMIT_S + 60), pytest.mark.no_sanitizer, pytest.mark.any_kernel]

PASSED = {
    "test_http": 43,
    "test_websocket": 52,
    "test_proxy_headers": 33,
    "test_default_headers": 2,
    "test_ssl": 4,
}
"""How many tests of each module there are to pass; the others have a line with a reason in skips.txt."""


@pytest.mark.parametrize(
    "loop", [pytest.param(loop, marks=[] if loop == "ring" else pytest.mark.long) for loop in uvicorn.LOOPS]
)
@pytest.mark.parametrize("module", uvicorn.MODULES)
def test_module(module, loop, tmp_path):
    if lacking := uvicorn.missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    try:
        uvicorn.TESTS.fetch()
    except sdist.Unavailable as reason:
        pytest.skip(str(reason))
    outcomes, printed = uvicorn.run(module, loop, tmp_path)
    bad = [f"{name}: {outcome}" for name, outcome in outcomes.items() if outcome not in ("passed", "skipped")]
    assert not bad, printed
    assert sum(outcome == "passed" for outcome in outcomes.values()) == PASSED[module], printed
