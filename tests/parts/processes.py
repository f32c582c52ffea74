"""Start servers for tests, and wait until they listen."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self


class NotStarted(Exception):
    """A server ended, or did not listen in time; the message has its log."""


def free_port() -> int:
    """Return a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path | None = None) -> None:
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


def _pause(process: subprocess.Popen[bytes]) -> None:
    """Wait briefly, or until the process ends."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)


def run(*command: str | Path, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Run a command and return its output. Raises: AssertionError with the output if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=120)
    assert done.returncode == 0 or not check, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Server:
    """A process that listens on a loopback port; `stop` it, or use it as a context manager."""

    def __init__(self, command: Sequence[str | Path], port: int, log: Path, env: Mapping[str, str] | None = None):
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.log = log
        self._output = log.open("wb")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
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
