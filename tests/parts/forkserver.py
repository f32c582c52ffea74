"""mirrorsync as processes that start fast: they are forked from one that has imported all modules.

Starting Python and importing takes most of the time of a command that does little, and the tests run thousands. Each
command is still a process of its own, with its own arguments, directory, environment, stdin, stdout and stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What Python reads when it starts: a process that has any of these in another value has to be started anew.
_AT_START = ("LANG", "LC_", "LANGUAGE", "PYTHON", "LD_", "MALLOC_", "TZ")
_LENGTH = struct.Struct(">I")


def fits(environment: Mapping[str, str]) -> bool:
    """Return whether a process with this environment can be forked."""
    special = {name: value for name, value in environment.items() if name.startswith(_AT_START)}
    return special == {"LANG": "C.UTF-8"}


class ForkServer:
    """Runs commands as forks of one process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(300)
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.parts.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
            )

    def run(self, words: Sequence[str], directory: Path, environment: Mapping[str, str], streams: Sequence[int]) -> int:
        """Run a command to its end; return its exit code, negative for a signal. streams: stdin, stdout, stderr."""
        request = json.dumps({"words": words, "directory": str(directory), "environment": dict(environment)}).encode()
        socket.send_fds(self._socket, [_LENGTH.pack(len(request))], list(streams))
        self._socket.sendall(request)
        (status,) = _LENGTH.unpack(_exactly(self._socket, _LENGTH.size))
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait(30)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def serve(connection: socket.socket) -> None:
    """Fork for every request, until the other side closes the connection."""
    while True:
        head, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
        if not head:
            return
        request = json.loads(_exactly(connection, _LENGTH.unpack(head)[0]))
        child = os.fork()
        if not child:
            connection.close()
            run(request, streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        connection.sendall(_LENGTH.pack(status))


def run(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be the command of a request."""
    from mirrorsync.cli.main import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["mirrorsync", *request["words"]]
    random.seed()
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - a bug: the tests look for its traceback
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def import_all() -> None:
    """Import every module of the product, as its processes do one by one."""
    import mirrorsync

    for module in pkgutil.walk_packages(mirrorsync.__path__, "mirrorsync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("tenacity", "structlog", "jsonschema", "asyncio", "rich.console", "rich.table", "email.utils"):
        importlib.import_module(name)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import_all()
    serve(socket.socket(fileno=int(sys.argv[1])))
