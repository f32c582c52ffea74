"""Write to a repository: explain denied writes, and create the project that has to exist first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from mirrorsync.errors import Denied, MirrorsyncError, RegistryUnavailable, RepositoryNotFound, Unauthorized
from mirrorsync.oci.ref import Ref
from mirrorsync.stores.located import located_at
from mirrorsync.stores.registry.harbor import Projects
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.scopes import Scopes

T = TypeVar("T")
_REFUSALS: Final = (Unauthorized, Denied, RepositoryNotFound)
_PUSH_REMEDY: Final = "give this account the right to push to this repository"
_CREATE_REMEDY: Final = "the registry does not create repositories on push: create it there first"
_GOOD_LOGIN_REMEDY: Final = "the login is good and does not show this: check the name, and the rights of this account"


class Writes:
    """Attempts to write to one repository. scopes: those of the writes. projects: creates a missing project, or None.

    Attempts raise Denied if the login is valid but has no rights, RepositoryNotFound if the repository has to be
    created, and what they raise themselves.
    """

    def __init__(self, client: Client, repository: str, scopes: Scopes, projects: Projects | None) -> None:
        self._client = client
        self._repository = repository
        self._scopes = scopes
        self._projects = projects

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns. It is retried once if its project was created."""
        created = self._was_created()
        try:
            return await work()
        except _REFUSALS as error:
            if not await asyncio.to_thread(self._create, created):
                raise self._explained(error) from error.__cause__
        try:
            return await work()
        except _REFUSALS as error:
            raise self._explained(error) from error.__cause__

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Attempt the work of the block, which cannot be retried here. Blocking.

        Raises: RegistryUnavailable if its project was created: the caller can retry all of it.
        """
        created = self._was_created()
        try:
            yield
        except _REFUSALS as error:
            if self._create(created):
                raise RegistryUnavailable("created the missing project: retry the push") from error
            raise self._explained(error) from error.__cause__

    def _was_created(self) -> bool:
        return self._projects is not None and self._projects.created(self._repository)

    def _create(self, created_before: bool) -> bool:
        return self._projects is not None and self._projects.create(self._repository, after=created_before)

    def _explained(self, error: MirrorsyncError) -> MirrorsyncError:
        """Return the error for a denied write, with its cause as far as it is known."""
        if isinstance(error, Unauthorized):
            if not self._client.accepts_login(self._scopes):
                return error
            error = Denied(error.message)
        if error.remedy == error.default_remedy:
            return error.with_(remedy=_PUSH_REMEDY if isinstance(error, Denied) else _CREATE_REMEDY)
        return error


class located_with_login(located_at):  # noqa: N801 - used as a function is, as `located_at` is
    """Add the location to errors, as `located_at` does, and to Unauthorized whether the login can be the cause.

    scopes: those of the request. If the login is known to be valid, the remedy is not to check the password; if a login
    could not be looked up, the error says why.
    """

    __slots__ = ("_client", "_scopes")

    def __init__(self, client: Client, scopes: Scopes, store: str, repository: str, ref: Ref | None) -> None:
        super().__init__(store, repository, ref)
        self._client = client
        self._scopes = scopes

    def located(self, error: MirrorsyncError) -> MirrorsyncError:
        """Return the error with its location, and with a remedy that fits the login."""
        if isinstance(error, Unauthorized) and error.remedy == error.default_remedy:
            if self._client.accepts_login(self._scopes):
                error = error.with_(remedy=_GOOD_LOGIN_REMEDY)
            elif troubles := self._client.login_troubles():
                message = "; ".join((error.message, *(trouble.message for trouble in troubles if trouble.message)))
                error = error.with_(message=message, remedy="; ".join(trouble.remedy for trouble in troubles))
        return super().located(error)
