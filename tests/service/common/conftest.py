"""What the tests of the backbone share."""

from collections.abc import Iterator

import pytest

from tests.support.tally.service import FAULTS


@pytest.fixture
def faults() -> Iterator[set[str]]:
    """Where the tally service's handlers fail; what a test mends or breaks is put back."""
    kept = set(FAULTS)
    yield FAULTS
    FAULTS.clear()
    FAULTS.update(kept)
