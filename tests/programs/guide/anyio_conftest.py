import pytest

import ioring


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": ioring.new_event_loop}
