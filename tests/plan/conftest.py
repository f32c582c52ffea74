"""What tests of the plan share: the time zone of the machine, which nothing that they test may depend on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(params=["UTC0", "EAST-14", "WEST12"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test in a time zone of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()
