"""Answers that many wait for: asked once, and an error that is remembered is each waiter's own."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from mirrorsync.errors import MirrorsyncError, Unreachable
from mirrorsync.sync.pool import Answers


def test_each_waiter_of_a_failed_question_gets_an_error_of_its_own() -> None:
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
    assert lengths[-1] <= lengths[0]  # what is remembered does not grow with each waiter
