"""mirrorsync in a process that is watched at its system calls, and killed at any one of them.

The audit hooks of Python report every open, mkdir, link, rename and unlink; `os.fsync`, which has none, is wrapped and
calls through. A child is forked for each run, so that a sweep over all events costs no start of an interpreter each.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirrorsync.cli.main import main

_PATHS = {"open": 1, "os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.link": 2, "os.rename": 2, "os.truncate": 1}


def _watch(layout: str, saw: Callable[[str, list[str]], None]) -> None:
    """Call `saw` before each event in a layout, with its name and paths."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _PATHS:
            return
        paths = [os.fspath(path) for path in arguments[: _PATHS[event]] if isinstance(path, str | os.PathLike)]
        if paths and str(paths[0]).startswith(layout):
            if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
            saw(event, [str(path) for path in paths])

    really = os.fsync

    def fsync(fd: Any) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        if path.startswith(layout):
            saw("fsync", [path])
        really(fd)

    sys.addaudithook(hook)
    os.fsync = fsync


def _record(layout: str, arguments: list[str], trace: Path) -> int:
    with trace.open("w") as file:

        def saw(event: str, paths: list[str]) -> None:
            file.write(json.dumps([event, *(path.removeprefix(layout).lstrip("/") for path in paths)]) + "\n")

        _watch(layout, saw)
        return main(arguments)


def _run_until(layout: str, arguments: list[str], last: int) -> int:
    count = 0

    def saw(_: str, __: list[str]) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(layout, saw)
    return main(arguments)


def _forked(layout: str, arguments: list[str], output: str, trace: str = "", kill_at: int = 0) -> int:
    """Run mirrorsync in a child; return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = _record(layout, arguments, Path(trace)) if trace else _run_until(layout, arguments, kill_at)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    # Loaded here, so that no child has to.
    for module in ("cli.commands.apply", "cli.output.logs", "stores.layout.store", "app", "sync.road"):
        importlib.import_module(f"mirrorsync.{module}")
    # The runs are read as JSON, and their exit codes are written as JSON.
    print(json.dumps([_forked(**one) for one in json.load(sys.stdin)]))
