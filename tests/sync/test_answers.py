"""Answers for several waiters: requested once, and each waiter gets its own copy of an error."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from mirrorsync.errors import MirrorsyncError, Unreachable
from mirrorsync.sync.pool import Answers


def test_each_waiter_of_a_failed_request_gets_its_own_error() -> None:
    asyncio.run(wait_together_and_later())


async def wait_together_and_later() -> None:
    answers: Answers[str, str] = Answers()
    asked: list[MirrorsyncError] = []

    async def ask() -> str:
        asked.append(Unreachable("no route"))
        raise asked[0] from OSError("cause")

    async def waiter() -> Unreachable:
        with pytest.raises(Unreachable) as caught:
            await answers.get("a", ask)
        return caught.value

    together = await asyncio.gather(*(waiter() for _ in range(3)))
    later = [await waiter() for _ in range(3)]
    errors = [*together, *later]
    assert len(asked) == 1
    assert len({id(error) for error in (*errors, *asked)}) == 7
    assert {str(error.__cause__) for error in errors} == {"cause"}
    lengths = [len(traceback.extract_tb(error.__traceback__)) for error in later]
    assert lengths[-1] <= lengths[0]  # the remembered traceback does not grow with each waiter
