"""Start servers for tests, and wait until they listen."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol, Self


class NotStarted(Exception):
    """A server ended, or did not listen in time; the message has its log."""


class Process(Protocol):
    """What tests need of a process: `subprocess.Popen` has it, and a fork of the fork server."""

    pid: int
    returncode: int | Any  # as typeshed declares it for Popen

    @property
    def args(self) -> Any:
        """The command."""

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code, negative for a signal. Raises: subprocess.TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""

    def terminate(self) -> None:
        """Send it SIGTERM."""

    def kill(self) -> None:
        """Send it SIGKILL."""


def free_port() -> int:
    """Return a free loopback port.

    It is below those that Linux gives to outgoing connections and to listeners on port 0: one of these may be taken by
    another test before the server that is started with it listens.
    """
    first, last = 10_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first, max(last, first + 10_000))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_for_port(port: int, process: Process, log: Path | None = None) -> None:
    """Wait until `process` accepts connections on a loopback port. Raises: NotStarted."""
    for _ in range(400):
        if process.poll() is not None:
            raise NotStarted(f"{process.args!r} exited with {process.returncode}\n{log.read_text() if log else ''}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            _pause(process)
        else:
            return
    raise NotStarted(f"{process.args!r} does not listen on port {port}\n{log.read_text() if log else ''}")


def _pause(process: Process) -> None:
    """Wait briefly, or until the process ends."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)


def run(*command: str | Path, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Run a command and return its output. Raises: AssertionError with the output if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=120)
    assert done.returncode == 0 or not check, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def command(*words: str | Path, env: Mapping[str, str] | None = None) -> Callable[[IO[bytes]], Process]:
    """Return what starts a command with its output in a file. env: more variables."""

    def start(output: IO[bytes]) -> Process:
        return subprocess.Popen(
            [str(word) for word in words],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )

    return start


class Server:
    """A process that listens on a loopback port; `stop` it, or use it as a context manager.

    start: starts it with its output in a file.
    """

    def __init__(self, start: Callable[[IO[bytes]], Process], port: int, log: Path) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.log = log
        self._output = log.open("wb")
        self.process = start(self._output)
        try:
            wait_for_port(port, self.process, log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
