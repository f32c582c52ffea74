"""A process of the fork server as its client sees it; as a program, `mirrorsync` for the shell, which starts fast.

It imports little: a test that runs a shell script starts it for every line.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import struct
import sys

if False:  # not `typing.TYPE_CHECKING`: typing is more than all the rest
    from collections.abc import Mapping, Sequence

# What Python reads when it starts: a process that has any of these in another value has to be started anew.
_AT_START = ("LANG", "LC_", "LANGUAGE", "PYTHON", "LD_", "MALLOC_", "TZ")
NUMBER = struct.Struct(">I")
_LIMITS = 16  # Linux numbers its limits from 0 to 15


def fits(environment: Mapping[str, str]) -> bool:
    """Return whether a process with this environment can be forked."""
    special = {name: value for name, value in environment.items() if name.startswith(_AT_START)}
    return special == {"LANG": "C.UTF-8"}


def exactly(connection: socket.socket, size: int) -> bytes:
    """Read a number of bytes. Raises: EOFError."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Forked:
    """A command that the server at an address has forked. It has the face of `subprocess.Popen`, as far as is needed.

    streams: its stdin, stdout, stderr.
    """

    def __init__(
        self,
        address: str,
        words: Sequence[str],
        directory: str,
        environment: Mapping[str, str],
        streams: Sequence[int] = (0, 1, 2),
    ) -> None:
        self.args = words
        self.returncode: int | None = None
        request = json.dumps(
            {
                "words": words,
                "directory": directory,
                "environment": dict(environment),
                "umask": _umask(),
                "limits": [resource.getrlimit(number) for number in range(_LIMITS)],
            }
        ).encode()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(f"\0{address}")
        socket.send_fds(self._socket, [NUMBER.pack(len(request))], list(streams))
        self._socket.sendall(request)
        (self.pid,) = NUMBER.unpack(exactly(self._socket, NUMBER.size))

    def __del__(self) -> None:
        self._socket.close()  # of a process that nothing waited for

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code, negative for a signal. Raises: subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._socket], [], [], timeout)[0]:
                from subprocess import TimeoutExpired

                raise TimeoutExpired(self.args, timeout or 0)
            (status,) = NUMBER.unpack(exactly(self._socket, NUMBER.size))
            self._socket.close()
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        running = self.returncode is None and not select.select([self._socket], [], [], 0)[0]
        return None if running else self.wait()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _umask() -> int:
    """Return the umask without changing it, which another thread would see."""
    with open("/proc/self/status") as lines:  # noqa: PTH123 - pathlib is slow to import
        return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


def main(address: str) -> None:
    """Be `mirrorsync` in a shell: pass on arguments, variables, directory, streams and signals."""
    environment = dict(os.environ)
    words = sys.argv[1:]
    if not fits(environment):
        os.execv(sys.executable, [sys.executable, "-m", "mirrorsync", *words])
    stopping = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    process = Forked(address, words, os.getcwd(), environment)  # noqa: PTH109 - pathlib is slow to import
    for number in stopping:
        signal.signal(number, lambda number, _: process.send_signal(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
    code = process.wait()
    os._exit(code if code >= 0 else 128 - code)
