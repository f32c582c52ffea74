"""A docker daemon for tests: podman's service, which speaks Docker's API on a unix socket."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from tests.parts.processes import NotStarted, run


class Daemon:
    """`podman system service`; use it as a context manager. host: the value for DOCKER_HOST."""

    def __enter__(self) -> Self:
        self._home = TemporaryDirectory(prefix="daemon")  # pytest's paths are too long for a socket
        home = Path(self._home.name)
        self.socket = home / "docker.sock"
        self.host = f"unix://{self.socket}"
        self._storage = ("--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "vfs")
        self._log = (home / "log").open("wb")
        self._process = subprocess.Popen(
            ["podman", *self._storage, "system", "service", "--time", "0", self.host],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        run("podman", *self._storage, "rmi", "--all", "--force", check=False)
        self._home.cleanup()

    def __call__(self, *words: str | Path) -> str:
        """Run a podman command on the daemon's storage; return what it printed."""
        return run("podman", *self._storage, *words).strip()

    @property
    def log(self) -> str:
        """The log of the service so far."""
        return Path(self._log.name).read_text()

    def _wait(self) -> None:
        for _ in range(400):
            if self._process.poll() is not None:
                raise NotStarted(f"podman's service exited with {self._process.returncode}\n{self.log}")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
                probe.connect(str(self.socket))
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.05)
        raise NotStarted(f"podman's service does not listen\n{self.log}")
