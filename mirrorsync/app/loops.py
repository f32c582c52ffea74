"""Run coroutines from blocking code, whether or not an event loop is running; errors are raised unchanged."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

from mirrorsync.errors import MirrorsyncError

P = ParamSpec("P")
T = TypeVar("T")


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return the blocking form of a coroutine function; it also blocks inside a running event loop.

    The coroutine runs on its own event loop, in a thread if this thread has one. Its errors are raised unchanged, and
    an interruption (KeyboardInterrupt) cancels it first.
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_once(function(*arguments, **options))
        return _run_in_thread(lambda: function(*arguments, **options))

    return call


def run_once(work: Awaitable[T]) -> T:
    """Run a coroutine on a new event loop; of errors that several tasks raised together, raise one."""
    results: list[T] = []

    async def awaited() -> None:
        asyncio.get_running_loop().set_exception_handler(_abandoned)
        # Not returned: asyncio's runner formats the finished task at its end, including the whole result.
        results.append(await work)

    try:
        asyncio.run(awaited())
    except BaseExceptionGroup as group:
        raise_one(group)
    return results[0]


def raise_one(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the first of our errors in a group; the whole group if it contains a bug."""
    ours, others = group.split(MirrorsyncError)
    error: BaseException | None = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if others is not None or error is None:
        raise group
    raise error from group


def _run_in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    done: Future[T] = Future()
    began: Future[Callable[[], object]] = Future()  # cancels the work

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work())
        began.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await task

    def run() -> None:
        try:
            done.set_result(run_once(cancellable()))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            done.set_exception(error)
        finally:
            if not began.done():
                began.set_result(lambda: None)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="mirrorsync", daemon=True)
    try:
        thread.start()  # an interruption may come before this returns, too
        return done.result()
    finally:
        if thread in threading.enumerate():
            if not done.done():
                began.result()()
            thread.join()


def _abandoned(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop an error that no task awaits: of a request that several tasks shared and that was cancelled with them."""
    if not isinstance(context.get("exception"), MirrorsyncError):
        loop.default_exception_handler(context)
