"""The blocking functions, called from a plain program and inside a running event loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

import mirrorsync
from mirrorsync.app.loops import blocking
from mirrorsync.app.session import open_session
from mirrorsync.errors import Unreachable, UsageError
from tests.parts.images import multi_platform, write_layout
from tests.parts.processes import free_port
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly

T = TypeVar("T")
Call = Callable[[Callable[[], T]], T]


def plainly(call: Callable[[], T]) -> T:
    """Call a function as a program without an event loop does."""
    return call()


def in_a_loop(call: Callable[[], T]) -> T:
    """Call a function from a running coroutine, as a notebook does."""

    async def main() -> T:
        return call()

    return asyncio.run(main())


either = pytest.mark.parametrize("called", [plainly, in_a_loop])


@either
def test_a_result_is_returned(called: Call[Any], tmp_path: Path) -> None:
    write_layout(tmp_path / "disk", {"app:1": multi_platform("app")})
    assert list(called(lambda: mirrorsync.list_tags(f"oci:{tmp_path}/disk"))) == ["app:1"]
    copied = called(lambda: mirrorsync.copy_image(f"oci:{tmp_path}/disk:app:1", f"oci:{tmp_path}/other:app:1"))
    assert copied.report.exit_code == mirrorsync.ExitCode.DONE


@either
def test_an_error_is_raised_unchanged(called: Call[Any]) -> None:
    host = f"127.0.0.1:{free_port()}"
    environment = mirrorsync.process_environment({}, retries=0)
    with pytest.raises(Unreachable) as caught:
        called(lambda: mirrorsync.list_tags(f"{host}/app", environment=environment))
    assert caught.value.where == f"{host}/app"


@either
def test_a_bug_is_raised_unchanged(called: Call[Any]) -> None:
    async def broken() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(KeyError("bug")))

    with pytest.raises(BaseExceptionGroup) as caught:
        called(blocking(broken))
    assert isinstance(caught.value.exceptions[0], KeyError)


async def _several() -> None:
    async with asyncio.TaskGroup() as group:
        for text in ("first", "second"):
            group.create_task(_raise(UsageError(text)))


@either
def test_of_errors_of_several_tasks_one_is_raised(called: Call[Any]) -> None:
    with pytest.raises(UsageError, match="first"):
        called(blocking(_several))


def test_of_errors_of_several_tasks_of_a_session_one_is_raised() -> None:
    async def work() -> None:
        async with open_session(mirrorsync.process_environment({}), mirrorsync.Stop()):
            await _several()

    with pytest.raises(UsageError, match="first"):
        asyncio.run(work())


@either
def test_the_work_runs_in_the_context_of_the_caller(called: Call[Any]) -> None:
    variable = contextvars.ContextVar("variable", default="none")

    async def work() -> str:
        return variable.get()

    def call() -> str:
        variable.set("the caller's")
        return blocking(work)()

    assert contextvars.copy_context().run(lambda: called(call)) == "the caller's"


def test_blocking_calls_in_threads_are_independent(tmp_path: Path) -> None:
    write_layout(tmp_path / "disk", {"app:1": multi_platform("app")})

    async def main() -> list[list[str]]:
        calls = (asyncio.to_thread(mirrorsync.list_tags, f"oci:{tmp_path}/disk") for _ in range(8))
        return [list(tags) for tags in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == [["app:1"]] * 8


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, also if the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interruption_inside_a_loop_cancels_the_work(tmp_path: Path) -> None:
    spec = tmp_path / "mirror.yaml"
    before = set(threading.enumerate())
    released = threading.Event()

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert released.wait(30)

    with Unruly(TinyRegistry()) as server, interruptible():
        server.fault("wait", "*", "/v2/", hits=[1], arrived=interrupt)
        spec.write_text(
            f"version: 1\nregistries: {{'{server.host}': {{plain_http: true}}}}\n"
            f"destinations: {{disk: 'oci:disk'}}\nmirrors: ['{server.host}/app:1']\n"
        )
        loaded = mirrorsync.load_spec(spec)

        async def main() -> mirrorsync.Plan:
            return mirrorsync.make_plan(loaded, environment=mirrorsync.process_environment({}))

        loop = asyncio.new_event_loop()
        try:
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(main())  # as a notebook runs it: asyncio.run would take the signal itself
        finally:
            released.set()
            loop.close()
        assert not [one for one in threading.enumerate() if one.name == "mirrorsync" and one not in before]


async def _raise(error: Exception) -> None:
    raise error


def _typed(work: Callable[[int], Coroutine[Any, Any, str]]) -> Callable[[int], str]:
    """Hold that types go through `blocking`: mypy reads the tests too."""
    return blocking(work)
