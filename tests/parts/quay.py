"""Quay's permissions: 401 for repositories that are not visible, and a token with push rights creates the repository.

Behaviour of quay/quay, endpoints/v2/v2auth.py and decorators: a token has the rights that were asked for and that the
account has at that moment; one for a repository that does not exist has no rights, unless it may push into a namespace
of the account. A request for the `delete` action gets no token at all. Pages have at most `LARGEST_PAGE` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.parts.auth_service import AuthService, needed_scopes, with_tokens
from tests.parts.tiny_registry import App, Asked, Reply, TinyRegistry, refusal

LARGEST_PAGE = 100


@dataclass
class Quay:
    """One Quay. namespace: the one that the account may write to. makes_with_token: a repository is created when a
    token with push rights is issued; otherwise when the first upload begins.
    """

    namespace: str = "team"
    makes_with_token: bool = True
    clock: Callable[[], float] = lambda: 0.0
    repositories: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.auth_service = AuthService(grants=self._granted, clock=self.clock, anonymous=True)
        self.registry = TinyRegistry(guard=self._guard)

    @property
    def app(self) -> App:
        """The registry and its token service."""
        return with_tokens(self._pages, self._token, "/v2/auth")

    def at(self, url: str) -> None:
        """Set the URL under which it is reachable."""
        self.auth_service.realm = f"{url}/v2/auth"

    def _token(self, asked: Asked) -> Reply:
        if "delete" in asked.target:
            return refusal(400, "INVALID_REQUEST", "unable to decode repository and actions")
        return self.auth_service(asked)

    def _granted(self, scopes: Iterable[str]) -> Iterable[str]:
        anonymous = self.auth_service.asking == "anonymous"
        for scope in scopes:
            kind, name, actions = scope.split(":")
            mine = name.startswith(f"{self.namespace}/") and not anonymous
            if mine and "push" in actions and self.makes_with_token:
                self.repositories.add(name)
            if mine and (name in self.repositories or "push" in actions):
                yield f"{kind}:{name}:{actions}"

    def _guard(self, asked: Asked) -> Reply | None:
        refused = self.auth_service.guard(asked)
        if refused is not None:
            return refused
        for scope in needed_scopes(asked):
            name = scope.split(":")[1]
            if asked.method in ("POST", "PUT"):
                self.repositories.add(name)
            elif name not in self.repositories:
                return self.auth_service.refusal(needed_scopes(asked))
        return None

    def _pages(self, asked: Asked) -> Reply:
        name = asked.path.removeprefix("/v2/").removesuffix("/tags/list")
        if not asked.path.endswith("/tags/list"):
            return self.registry(asked)
        if int(asked.query.get("n", 0)) > LARGEST_PAGE:
            return Reply(413)
        reply = self.registry(asked)
        return Reply(200, {}, b'{"tags": []}') if reply.status == 404 and name in self.repositories else reply
