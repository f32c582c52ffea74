"""Credentials: from the spec, and from where podman, docker and skopeo login left them, helpers included."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mirrorsync.errors import MirrorsyncError, StorageError, UsageError, printable
from mirrorsync.oci.reference import DOCKER_HUB
from mirrorsync.secret import Secret
from mirrorsync.spec.model import RegistrySettings

_HELPER_SECONDS: Final = 30
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
# docker login writes Docker Hub under this key (docker/cli, registry.IndexServer), podman under docker.io.
_HUB_KEYS: Final = (DOCKER_HUB, "https://index.docker.io/v1/", "index.docker.io")
# docker's word for "the secret is an identity token" (docker-credential-helpers, credentials.TokenUsername).
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a user name, not a token
_NONE: Final = Secret("")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks: a username and password, or an identity token that the token service takes instead."""

    username: str = ""
    password: Secret = _NONE
    identity_token: Secret = _NONE


class CredentialFinder:
    """Finds the credentials of a host: those of the spec first, then podman's, skopeo's and docker's, in their order.

    settings: the spec's, by host. environment: where REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, HOME and
    DOCKER_CONFIG are looked up, and what a credential helper gets as its own.
    """

    def __init__(self, settings: Mapping[str, RegistrySettings], environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._found: dict[tuple[str, str], Credentials | MirrorsyncError | None] = {}
        self._documents: dict[Path, Mapping[str, Any] | None] = {}
        self._asked: dict[tuple[str, str], Credentials | None] = {}
        self._lock = threading.Lock()

    def __call__(self, host: str, repository: str = "") -> Credentials | None:
        """Return the credentials of a host, or of one repository there; None when there are none.

        Blocks while a helper runs; each is asked once. Raises: UsageError for a file or helper that cannot be used.
        """
        with self._lock:
            if (host, repository) not in self._found:
                try:
                    found = self._of_spec(host) or self._of_files(host, repository)
                except MirrorsyncError as error:
                    self._found[host, repository] = error
                else:
                    self._found[host, repository] = found
            known = self._found[host, repository]
        if isinstance(known, MirrorsyncError):
            raise copy.copy(known)
        return known

    def _of_spec(self, host: str) -> Credentials | None:
        settings = self._settings.get(host)
        if settings is None or settings.username is None:
            return None
        if settings.password is not None:
            return Credentials(settings.username, settings.password)
        path = Path(settings.password_file or "")
        try:
            # An editor and `echo` end the file with a newline that is no part of the password.
            password = path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"password_file {path} of {host} cannot be read: {reason}") from None
        if not password:
            raise UsageError(f"password_file {path} of {host} is empty")
        return Credentials(settings.username, Secret(password))

    def _of_files(self, host: str, repository: str) -> Credentials | None:
        for path in _auth_files(self._environment):
            if path not in self._documents:
                self._documents[path] = _read(path)
            document = self._documents[path]
            if document is not None and (found := self._of_document(document, path, host, repository)) is not None:
                return found
        return None

    def _of_document(self, document: Mapping[str, Any], path: Path, host: str, repository: str) -> Credentials | None:
        keys = (
            _HUB_KEYS if host == DOCKER_HUB else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
        )
        helpers = _mapping(document.get("credHelpers"))
        for key in keys:
            if isinstance(helper := helpers.get(key), str):
                return self._once(helper, key)
        auths = _mapping(document.get("auths"))
        for key in (*_namespaces(host, repository), *keys):
            if (found := _decode(_mapping(auths.get(key)), path, key)) is not None:
                return found
        if isinstance(store := document.get("credsStore"), str) and store:
            for key in keys:
                if (asked := self._once(store, key)) is not None:
                    return asked
        return None

    def _once(self, helper: str, key: str) -> Credentials | None:
        if (helper, key) not in self._asked:
            self._asked[helper, key] = self._ask(helper, key)
        return self._asked[helper, key]

    def _ask(self, helper: str, key: str) -> Credentials | None:
        """Ask a credential helper, by docker's protocol: the server on stdin, JSON on stdout."""
        if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UsageError(f"{printable(helper, 60)!r} is no name of a credential helper")
        program = f"docker-credential-{helper}"
        try:
            done = subprocess.run(
                [program, "get"],
                input=key.encode(),
                capture_output=True,
                timeout=_HELPER_SECONDS,
                check=False,
                env=dict(self._environment),
            )
        except FileNotFoundError:
            raise UsageError(
                f"the credential helper {program} is not installed", remedy="install it, or log in again"
            ) from None
        except (OSError, subprocess.TimeoutExpired):
            raise UsageError(f"the credential helper {program} gave no answer for {printable(key)}") from None
        if done.returncode != 0:
            return None  # "credentials not found": helpers say it in many words, and only so
        try:
            answer = json.loads(done.stdout[:_MAX_FILE_BYTES])
            username, secret = str(answer["Username"]), Secret(str(answer["Secret"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(f"the credential helper {program} gave an answer that cannot be read") from None
        if not secret:
            return None
        return Credentials(identity_token=secret) if username == _TOKEN_USER else Credentials(username, secret)


def _namespaces(host: str, repository: str) -> Iterator[str]:
    """Yield the keys that podman login writes for a part of a registry, the longest first (containers-auth.json(5))."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:count]))


def _auth_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files in the order of containers-auth.json(5), then docker's."""
    if explicit := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(explicit)
        return
    home = environment.get("HOME")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    if config := environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else ""):
        yield Path(config) / "containers" / "auth.json"
    if docker := environment.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else ""):
        yield Path(docker) / "config.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return an auth file's content, None when there is no such file."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_FILE_BYTES) or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON", remedy="log in again, or remove the file") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is not an auth file", remedy="log in again, or remove the file")
    return document


def _decode(entry: Mapping[str, Any], path: Path, key: str) -> Credentials | None:
    token = entry.get("identitytoken")
    identity = Secret(token) if isinstance(token, str) else _NONE
    encoded = entry.get("auth")
    if not isinstance(encoded, str) or not encoded:
        return Credentials(identity_token=identity) if identity else None
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        username = colon = password = ""
    if not colon and not identity:
        raise _damaged(path, key)
    # docker pads with NUL (docker/cli, config/configfile.decodeAuth strips it).
    return Credentials(username, Secret(password.rstrip("\0")), identity)


def _damaged(path: Path, host: str) -> MirrorsyncError:
    return UsageError(f"{path} has an entry for {printable(host)} that cannot be read", remedy="log in again")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
