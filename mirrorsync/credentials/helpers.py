"""Credential helpers: programs that store logins elsewhere, such as in a keychain, by docker's protocol.

`docker-credential-NAME get|store|erase`: the request on stdin, the answer on stdout, exit code 1 for "not found"
(docker-credential-helpers, README "Development"). Secrets go over stdin, and never into arguments.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Final, cast

from mirrorsync.errors import StorageError, UsageError
from mirrorsync.hosts import Credentials
from mirrorsync.secret import Secret
from mirrorsync.text import printable

_SECONDS: Final = 30
_MAX_SHOWN: Final = 200
# What docker's helpers say, on stdout, for a server that they have no login for (credentials.errCredentialsNotFound).
_NOT_FOUND: Final = "credentials not found"
_MAX_ANSWER_BYTES: Final = 1024 * 1024
# docker's word for "the secret is an identity token" (docker-credential-helpers, credentials.TokenUsername).
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a user name, not a token


class HelperFailed(UsageError):
    """A credential helper did not do what it was asked for; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper. name: without `docker-credential-`; environment: the variables that it is run with."""

    name: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def program(self) -> str:
        """The program's name. Raises: UsageError if it would be a path or an option."""
        if not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UsageError(f"{printable(self.name, 60)!r} is not a valid name of a credential helper")
        return f"docker-credential-{self.name}"

    def get(self, key: str) -> Credentials | None:
        """Return its credentials for a server, None if it has no credentials for it.

        Raises: HelperFailed; UsageError if its name is not valid.
        """
        done = self._run("get", key, key)
        if done.returncode != 0:
            self._check_not_found(done)
        if done.returncode != 0 or not done.stdout.strip():
            return None
        try:
            answer = json.loads(done.stdout)
            username, secret = str(answer["Username"]), Secret(str(answer["Secret"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            said = _without_secrets(done)
            raise HelperFailed(
                f"the credential helper {self.program} returned invalid JSON{said and f': {said}'}"
            ) from None
        if not secret:
            return None
        return Credentials(identity_token=secret) if username == _TOKEN_USER else Credentials(username, secret)

    def _check_not_found(self, done: _Done) -> None:
        """Return if the helper has no login for the server. Raises: HelperFailed if it did not work.

        Both have exit code 1, and a locked keychain, say, would look like a missing login (podman#11636).
        """
        said = _words(done.stdout) or _words(done.stderr)
        if _NOT_FOUND in said.lower() or (not said and done.returncode == 1):
            return
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise HelperFailed(f"the credential helper {self.program} failed: {said or ended}")

    def store(self, key: str, credentials: Credentials) -> None:
        """Store a username and password for a server in it. Raises: StorageError if it fails, UsageError."""
        secret = credentials.password.reveal()
        message = json.dumps({"ServerURL": key, "Username": credentials.username, "Secret": secret})
        done = self._run("store", key, message)
        if done.returncode != 0:
            told = (done.stdout or done.stderr).decode(errors="replace").strip()
            # Its reason helps (a locked keychain, say), unless it repeats the secret.
            reason = f": {printable(told, 200)}" if told and secret not in told else ""
            raise StorageError(f"the credential helper {self.program} did not store the login{reason}")

    def erase(self, key: str) -> bool:
        """Remove a server's login; return whether there was one. Raises: UsageError, StorageError if it fails."""
        if self.get(key) is None:
            return False
        if self._run("erase", key, key).returncode != 0:
            raise StorageError(f"the credential helper {self.program} did not remove the login for {printable(key)}")
        return True

    def _run(self, verb: str, key: str, message: str) -> _Done:
        program = self.program
        try:
            with subprocess.Popen(
                [program, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(self.environment),
            ) as process:
                try:
                    return _talk(process, message.encode())
                finally:
                    process.kill()
        except FileNotFoundError:
            raise HelperFailed(
                f"the credential helper {program} is not installed", remedy="install it, or log in again"
            ) from None
        except _TooMuch:
            raise HelperFailed(
                f"the credential helper {program} sent more than {_MAX_ANSWER_BYTES} bytes for {printable(key)}"
            ) from None
        except (OSError, subprocess.TimeoutExpired):
            raise HelperFailed(f"the credential helper {program} did not answer for {printable(key)}") from None


class _TooMuch(Exception):
    """A helper's answer is longer than any login."""


@dataclass(frozen=True, slots=True)
class _Done:
    returncode: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


def _words(said: bytes) -> str:
    """Return what a helper said, on one line and cut if it is long."""
    return printable(" ".join(said.decode(errors="replace").split()), _MAX_SHOWN)


def _without_secrets(done: _Done) -> str:
    """Return what a helper said in addition to its answer: on stderr, or before the JSON (cog#2588).

    Output without JSON may be the secret alone, and is not shown.
    """
    before, brace, _ = done.stdout.partition(b"{")
    return (_words(before) if brace else "") or _words(done.stderr)


def _talk(process: subprocess.Popen[bytes], message: bytes) -> _Done:
    """Send a message to a program and return its output, of which at most `_MAX_ANSWER_BYTES` are read.

    Raises: _TooMuch, OSError; subprocess.TimeoutExpired if it takes longer than `_SECONDS`.
    """
    ends = time.monotonic() + _SECONDS
    said: dict[object, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for stream, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
            (process.stderr, selectors.EVENT_READ),
        ):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                waiting.register(stream, event)
        while waiting.get_map():
            ready = waiting.select(ends - time.monotonic())
            if not ready:
                raise subprocess.TimeoutExpired(process.args, _SECONDS)
            for key, event in ready:
                pipe = cast("IO[bytes]", key.fileobj)
                if event == selectors.EVENT_WRITE:
                    message = _written(pipe, message)
                    finished = not message
                else:
                    finished = _read(pipe, said[pipe])
                if finished:
                    waiting.unregister(pipe)
                    pipe.close()
    returncode = process.wait(max(0.0, ends - time.monotonic()))
    return _Done(returncode, bytes(said[process.stdout]), bytes(said[process.stderr]))


def _written(pipe: IO[bytes], message: bytes) -> bytes:
    """Write as much of a message as a pipe accepts; return the rest, empty if the reader has closed the pipe."""
    try:
        return message[os.write(pipe.fileno(), message) :]
    except BrokenPipeError:
        return b""  # a helper may answer without reading


def _read(pipe: IO[bytes], said: bytearray) -> bool:
    """Read the content of a pipe; return whether it has ended. Raises: _TooMuch."""
    data = os.read(pipe.fileno(), 65536)
    said += data
    if len(said) > _MAX_ANSWER_BYTES:
        raise _TooMuch
    return not data
