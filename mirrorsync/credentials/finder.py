"""Find credentials: those of the command line and the spec, and those that podman, docker and skopeo have stored."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirrorsync.credentials.files import (
    RUN_DIRECTORY,
    decode,
    files_read,
    keys_of,
    mapping,
    namespaces,
    read,
)
from mirrorsync.credentials.helpers import Helper
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, UsageError
from mirrorsync.hosts import Access, Credentials
from mirrorsync.secret import Secret


class CredentialFinder:
    """Finds the credentials of a host: first on the command line, then in the spec, then in the files of podman, skopeo
    and docker, in their order.

    environment: its variables say where files are (REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, HOME and
    DOCKER_CONFIG), and are the environment of credential helpers; its access may be by `host/repository`, since both
    ends of a copy may be one host, with an account for each. run_directory: where podman's files are without
    XDG_RUNTIME_DIR.
    """

    def __init__(self, environment: Environment, run_directory: Path = RUN_DIRECTORY) -> None:
        self._environment = environment
        self._files = tuple(files_read(environment.variables, run_directory))
        self._found: dict[tuple[str, str], Credentials | MirrorsyncError | None] = {}
        self._documents: dict[Path, Mapping[str, Any] | None] = {}
        self._asked: dict[tuple[str, str], Credentials | None] = {}
        self._lock = threading.Lock()

    def __call__(self, host: str, repository: str = "") -> Credentials | None:
        """Return the credentials of a host, or of one repository there; None for anonymous access.

        Blocks while a helper runs; each is run once. Raises: UsageError for a file or helper that cannot be used.
        """
        with self._lock:
            if (host, repository) not in self._found:
                try:
                    found = self._find(host, repository)
                except MirrorsyncError as error:
                    self._found[host, repository] = error
                else:
                    self._found[host, repository] = found
            known = self._found[host, repository]
        if isinstance(known, MirrorsyncError):
            raise known.with_() from known.__cause__
        return known

    def _find(self, host: str, repository: str) -> Credentials | None:
        given = self._environment.access
        access = given.get(f"{host}/{repository}") or given.get(host) or Access()
        if access.anonymous:
            return None
        if access.credentials is not None:
            return access.credentials
        if access.auth_file is not None:
            return self._of_files((access.auth_file,), host, repository)
        return self._of_spec(host) or self._of_files(self._files, host, repository)

    def _of_spec(self, host: str) -> Credentials | None:
        settings = self._environment.settings(host)
        if settings.username is None:
            return None
        if settings.password is not None:
            return Credentials(settings.username, settings.password)
        path = Path(settings.password_file or "")
        try:
            # Editors and `echo` end the file with a newline that is not part of the password.
            password = path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
            raise UsageError(f"password_file {path} of {host} cannot be read: {reason}") from None
        if not password:
            raise UsageError(f"password_file {path} of {host} is empty")
        return Credentials(settings.username, Secret(password))

    def _of_files(self, files: tuple[Path, ...], host: str, repository: str) -> Credentials | None:
        for path in files:
            if path not in self._documents:
                self._documents[path] = read(path)
            document = self._documents[path]
            if document is not None and (found := self._of_document(document, path, host, repository)) is not None:
                return found
        return None

    def _of_document(self, document: Mapping[str, Any], path: Path, host: str, repository: str) -> Credentials | None:
        keys = keys_of(host)
        helpers = mapping(document.get("credHelpers"))
        for key in keys:
            if isinstance(helper := helpers.get(key), str):
                return self._once(helper, key)
        auths = mapping(document.get("auths"))
        for key in (*namespaces(host, repository), *keys):
            if (found := decode(mapping(auths.get(key)), path, key)) is not None:
                return found
        if isinstance(store := document.get("credsStore"), str) and store:
            for key in keys:
                if (asked := self._once(store, key)) is not None:
                    return asked
        return None

    def _once(self, helper: str, key: str) -> Credentials | None:
        if (helper, key) not in self._asked:
            self._asked[helper, key] = Helper(helper, self._environment.variables).get(key)
        return self._asked[helper, key]
