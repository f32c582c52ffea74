"""Find credentials: those of the command line and the spec, and those that podman, docker and skopeo have stored."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
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
    spellings,
)
from mirrorsync.credentials.helpers import Helper, HelperFailed
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, UsageError
from mirrorsync.hosts import Access, Credentials, LoginTrouble
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
        self._asked: dict[tuple[str, str], Credentials | HelperFailed | None] = {}
        self._troubles: dict[str, tuple[LoginTrouble, ...]] = {}
        self._lock = threading.Lock()

    def __call__(self, host: str, repository: str = "") -> Credentials | None:
        """Return the credentials of a host, or of one repository there; None for anonymous access.

        Blocks while a helper runs; each is run once. A helper that fails gives no login; `troubles` says why. Raises:
        UsageError for a file that cannot be used.
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

    def troubles(self, host: str) -> tuple[LoginTrouble, ...]:
        """Return why a login to a host may not have been found: helpers that failed, files that do not exist.

        Never blocks, also while a helper runs.
        """
        return self._troubles.get(host, ())

    def _find(self, host: str, repository: str) -> Credentials | None:
        given = self._environment.access
        access = given.get(f"{host}/{repository}") or given.get(host) or Access()
        if access.anonymous:
            return None
        if access.credentials is not None:
            return access.credentials
        if access.auth_file is not None:
            return self._of_files((access.auth_file,), host, repository)
        return self._of_spec(self._environment.account(host, repository)) or self._of_files(
            self._files, host, repository
        )

    def _of_spec(self, key: str) -> Credentials | None:
        settings = self._environment.settings(key)
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
            raise UsageError(f"password_file {path} of {key} cannot be read: {reason}") from None
        if not password:
            raise UsageError(f"password_file {path} of {key} is empty")
        return Credentials(settings.username, Secret(password))

    def _of_files(self, files: tuple[Path, ...], host: str, repository: str) -> Credentials | None:
        for path in files:
            if path not in self._documents:
                self._documents[path] = read(path)
            document = self._documents[path]
            if document is None and (named := self._named(path)):
                remedy = f"{named} {path}, which does not exist: `mirrorsync login {host}` creates it"
                self._add_trouble(host, LoginTrouble("", remedy))
            if document is not None and (found := self._of_document(document, path, host, repository)) is not None:
                return found
        return None

    def _named(self, path: Path) -> str:
        """Return who named an auth file, "" if it is one of the usual ones."""
        if self._environment.variables.get("REGISTRY_AUTH_FILE") and path in self._files:
            return "REGISTRY_AUTH_FILE names"
        return "" if path in self._files else "the access options name"

    def _add_trouble(self, host: str, trouble: LoginTrouble) -> None:
        known = self._troubles.get(host, ())
        self._troubles[host] = known if trouble in known else (*known, trouble)

    def _of_document(self, document: Mapping[str, Any], path: Path, host: str, repository: str) -> Credentials | None:
        helpers = mapping(document.get("credHelpers"))
        for key in spellings(helpers, host):
            if isinstance(helper := helpers.get(key), str):
                return self._of_helper(helper, (key,), path, host)
        auths = mapping(document.get("auths"))
        written = spellings(auths, host)
        for key in (*namespaces(host, repository), *written):
            if (found := decode(mapping(auths.get(key)), path, key)) is not None:
                return found
        if isinstance(store := document.get("credsStore"), str) and store:
            # docker writes an empty entry for each login that its credsStore has.
            return self._of_helper(store, dict.fromkeys((*written, *keys_of(host))), path, host)
        return None

    def _of_helper(self, helper: str, keys: Iterable[str], path: Path, host: str) -> Credentials | None:
        """Ask a helper for one key after the other, until it has a login, or fails: it may ask a person each time."""
        for key in keys:
            asked = self._once(helper, key)
            if isinstance(asked, HelperFailed):
                remedy = asked.remedy or f"repair the helper, or remove it from {path} and log in again"
                self._add_trouble(host, LoginTrouble(asked.message, remedy))
                return None
            if asked is not None:
                return asked
        return None

    def _once(self, helper: str, key: str) -> Credentials | HelperFailed | None:
        if (helper, key) not in self._asked:
            try:
                self._asked[helper, key] = Helper(helper, self._environment.variables).get(key)
            except HelperFailed as failed:
                self._asked[helper, key] = failed
        return self._asked[helper, key]
