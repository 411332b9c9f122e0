import pytest

from ioring import Ring


@pytest.fixture
def ring():
    """An ordinary ring; closed afterwards."""
    with Ring(16) as ring:
        yield ring
