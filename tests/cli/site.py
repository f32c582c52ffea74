"""A registry with TLS and passwords in place of all those that the documents name."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.conftest import Locked
from tests.parts.images import Image
from tests.parts.mirrorsync import Done, Mirrorsync


class Site:
    """One registry with TLS and passwords in place of all those in README, and a home with its certificate."""

    def __init__(self, mirrorsync: Mirrorsync, registry: Locked, unique: str) -> None:
        self.mirrorsync = mirrorsync
        self.registry = registry
        self.prefix = f"{registry.host}/{unique}"
        certificates = mirrorsync.home / ".config/containers/certs.d" / registry.host
        certificates.mkdir(parents=True)
        (certificates / "ca.crt").write_bytes(Path(str(registry.ca_file)).read_bytes())
        self.auth_file = mirrorsync.directory / "auth.json"
        self.environment = {"REGISTRY_AUTH_FILE": str(self.auth_file)}

    def login(self) -> None:
        """Log in as skopeo does, with the credentials of the operator."""
        words = ("skopeo", "login", "-u", self.registry.username, "--password-stdin", self.registry.host)
        environment = {**self.mirrorsync.environment(), **self.environment}
        done = subprocess.run(
            words, env=environment, input=self.registry.password, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    def text(self, line: str, place: str) -> str:
        """Return a line of the documents with the hosts and users of this test; it writes to `place`."""
        for host, folder in (("docker.io", "hub"), ("quay.io", "quay"), ("harbor.corp.example", place)):
            line = line.replace(f"{host}/", f"{self.prefix}/{folder}/")
        line = line.replace("harbor.corp.example", self.registry.host)
        line = re.sub(r"creds [ab]:secret", f"creds {self.registry.username}:{self.registry.password}", line)
        return re.sub(r"(-creds|-u) (?:[ab]|ci)\b", rf"\1 {self.registry.username}", line)

    def here(self, command: str, place: str) -> list[str]:
        """Return the words of a command, as `text` returns it."""
        return shlex.split(self.text(command, place))

    def ours(self, command: str, *, place: str = "ours", env: dict[str, str] | None = None, code: int = 0) -> Done:
        return self.mirrorsync(*self.here(command, place)[1:], env={**self.environment, **(env or {})}, code=code)

    def theirs(self, command: str, *, place: str = "theirs", env: dict[str, str] | None = None) -> str:
        environment = {**self.mirrorsync.environment(), **self.environment, **(env or {})}
        done = subprocess.run(self.here(command, place), env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def digest(self, name: str) -> str:
        """Return the digest that skopeo reads there."""
        return self.theirs(f"skopeo inspect --format {{{{.Digest}}}} docker://{self.prefix}/{name}").strip()

    def seed(self, name: str, made: Image) -> None:
        """Put an image into the registry, under a name below the prefix."""
        repository, _, tag = name.rpartition(":")
        assert self.registry.server is not None
        self.registry.server.put(f"{self.prefix.partition('/')[2]}/{repository}", made, tag)
