"""mirrorsync as processes that start fast: they are forked from one that has imported all modules.

Starting Python and importing takes most of the time of a command that does little, and the tests run thousands. Each
command is still a process of its own, with arguments, directory, environment, streams, umask and limits of its own.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import random
import resource
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.parts.forked import NUMBER, Forked, exactly

_PROGRAM = """#!{python} -IS
import sys
sys.path.insert(0, {parts!r})
from forked import main
main({address!r})
"""


class ForkServer:
    """Runs commands as forks of one process. bin: a directory for PATH, with the program `mirrorsync`."""

    def __init__(self) -> None:
        self._home = TemporaryDirectory(prefix="mirrorsync-bin")
        self.bin = Path(self._home.name)
        self._address = self._home.name  # of an abstract socket: nothing is created at this path
        parts = str(Path(__file__).parent)
        program = self.bin / "mirrorsync"
        program.write_text(_PROGRAM.format(python=sys.executable, parts=parts, address=self._address))
        program.chmod(0o755)
        self._life, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\0{self._address}")
            listener.listen(64)
            descriptors = [theirs.fileno(), listener.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.parts.forkserver", *map(str, descriptors)],
                pass_fds=descriptors,
                cwd=Path(__file__).parents[2],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
            )

    def start(
        self, words: Sequence[str], directory: Path, environment: Mapping[str, str], streams: Sequence[int]
    ) -> Forked:
        """Start a command. streams: stdin, stdout, stderr."""
        return Forked(self._address, words, str(directory), environment, streams)

    def close(self) -> None:
        """End the server."""
        self._life.close()
        self._process.wait(30)
        self._home.cleanup()


def serve(life: socket.socket, listener: socket.socket) -> None:
    """Fork for every request and tell the end of every fork, until the other side closes `life`."""
    with selectors.DefaultSelector() as selector:
        selector.register(life, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is life:
                    return
                if key.fileobj is listener:
                    child, connection = _fork(listener)
                    selector.register(os.pidfd_open(child), selectors.EVENT_READ, (child, connection))
                else:
                    selector.unregister(key.fileobj)
                    _tell_end(key.fd, *key.data)


def _fork(listener: socket.socket) -> tuple[int, socket.socket]:
    """Fork for the next request; return the process, and the connection that its end is told on."""
    connection, _ = listener.accept()
    head, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
    request = json.loads(exactly(connection, NUMBER.unpack(head)[0]))
    child = os.fork()
    if not child:
        run(request, streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(NUMBER.pack(child))
    return child, connection


def _tell_end(descriptor: int, child: int, connection: socket.socket) -> None:
    os.close(descriptor)
    status = os.waitpid(child, 0)[1]
    with connection, suppress(BrokenPipeError):  # whoever started it may have ended before
        connection.sendall(NUMBER.pack(status))


def run(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be the command of a request."""
    from mirrorsync.cli.main import main

    _use(streams)
    os.umask(request["umask"])
    for number, limit in enumerate(request["limits"]):
        resource.setrlimit(number, limit)
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


def _use(streams: Sequence[int]) -> None:
    """Take these for stdin, stdout and stderr, and make their objects as Python does when it starts."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 4096)  # also what belongs to processes that were forked before
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        raw = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
        by_line = name == "stderr" or raw.isatty()
        new = io.TextIOWrapper(raw, old.encoding, old.errors, newline="\n", line_buffering=by_line)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


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
    gc.collect()
    gc.freeze()  # or the first collection of every fork copies the pages of all modules
    serve(*(socket.socket(fileno=int(word)) for word in sys.argv[1:]))
