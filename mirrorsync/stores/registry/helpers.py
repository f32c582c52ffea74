"""Credential helpers: programs that keep logins elsewhere, spoken to by docker's protocol.

`docker-credential-NAME get|store|erase`: what is asked on stdin, the answer on stdout, an exit code of 1 for "no"
(docker-credential-helpers, README "Development"). Secrets go over stdin, and never into arguments.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mirrorsync.errors import StorageError, UsageError, printable
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.accounts import Credentials

_SECONDS: Final = 30
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
# docker's word for "the secret is an identity token" (docker-credential-helpers, credentials.TokenUsername).
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a user name, not a token


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper. name: without `docker-credential-`; environment: what it gets as its own."""

    name: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def program(self) -> str:
        """The program's name. Raises: UsageError when it would be a path or an option."""
        if not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UsageError(f"{printable(self.name, 60)!r} is no name of a credential helper")
        return f"docker-credential-{self.name}"

    def get(self, key: str) -> Credentials | None:
        """Return what it holds for a server, None when it holds nothing. Raises: UsageError."""
        done = self._run("get", key, key)
        if done.returncode != 0:
            return None  # "credentials not found": helpers say it in many words, and only so
        try:
            answer = json.loads(done.stdout[:_MAX_ANSWER_BYTES])
            username, secret = str(answer["Username"]), Secret(str(answer["Secret"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(f"the credential helper {self.program} gave an answer that cannot be read") from None
        if not secret:
            return None
        return Credentials(identity_token=secret) if username == _TOKEN_USER else Credentials(username, secret)

    def store(self, key: str, credentials: Credentials) -> None:
        """Let it keep a username and password for a server. Raises: StorageError when it does not, UsageError."""
        secret = credentials.password.reveal()
        message = json.dumps({"ServerURL": key, "Username": credentials.username, "Secret": secret})
        done = self._run("store", key, message)
        if done.returncode != 0:
            told = (done.stdout or done.stderr).decode(errors="replace").strip()
            # Its reason helps (a locked keychain, say), unless it repeats what it was told.
            reason = f": {printable(told, 200)}" if told and secret not in told else ""
            raise StorageError(f"the credential helper {self.program} did not keep the login{reason}")

    def erase(self, key: str) -> bool:
        """Let it forget a server; tell whether it knew it. Raises: UsageError, StorageError when it does not forget."""
        if self.get(key) is None:
            return False
        if self._run("erase", key, key).returncode != 0:
            raise StorageError(f"the credential helper {self.program} did not remove the login for {printable(key)}")
        return True

    def _run(self, verb: str, key: str, message: str) -> subprocess.CompletedProcess[bytes]:
        program = self.program
        try:
            return subprocess.run(
                [program, verb],
                input=message.encode(),
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                env=dict(self.environment),
            )
        except FileNotFoundError:
            raise UsageError(
                f"the credential helper {program} is not installed", remedy="install it, or log in again"
            ) from None
        except (OSError, subprocess.TimeoutExpired):
            raise UsageError(f"the credential helper {program} gave no answer for {printable(key)}") from None
