"""order_ops on either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from order_ops.app import SERVICE
from tests.support.harness import MovableClock, running
from tests.support.order_examples import TEN
from tests.support.order_shop import NO_HOLDOUT, Shop, set_policy


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> AsyncIterator[Shop]:
    """A running shop at ten in the morning; nobody is in the holdout group."""
    clock = MovableClock(TEN)
    async with running(SERVICE, tmp_path, database_url, clock=clock) as service:
        found = Shop(service, clock)
        await set_policy(found, **NO_HOLDOUT)
        yield found
        await found.http.aclose()
