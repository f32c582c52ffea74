"""A virtual repository of Artifactory: 403 for a missing tag, and its own spelling of the repository in token scopes.

go-containerregistry#1691 (403 for content that is not cached or visible), oras-go#650 (the scope of the challenge is
`repository:<virtual>/<name>`), renovate#15080 (the Link of a list leaves the path out).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.parts.auth_service import AuthService, with_tokens
from tests.parts.tiny_registry import App, Asked, Reply, TinyRegistry, refusal


@dataclass
class Artifactory:
    """One virtual repository. own_scopes: tokens are for `repository:virtual/NAME` alone. lists: it lists its tags.

    denied: tags that it has and denies access to (a policy of Xray). pushes: whether the account may push.
    """

    own_scopes: bool = False
    lists: bool = True
    pushes: bool = True
    denied: set[str] = field(default_factory=set)
    clock: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.auth_service = AuthService(grants=self._granted, clock=self.clock, tells_why=False)
        self.registry = TinyRegistry()

    @property
    def app(self) -> App:
        """The registry and its token service."""
        return with_tokens(self._answer, self.auth_service, "/artifactory/token")

    def at(self, url: str) -> None:
        """Set the URL under which it is reachable."""
        self.auth_service.realm = f"{url}/artifactory/token"

    def _granted(self, scopes: Iterable[str]) -> Iterable[str]:
        for scope in scopes:
            if not self.own_scopes:
                yield scope
            elif ":virtual/" in scope:
                yield scope.replace(":virtual/", ":")

    def _answer(self, asked: Asked) -> Reply:
        if (refused := self.auth_service.guard(asked)) is not None:
            return self._named_otherwise(refused) if self.own_scopes else refused
        if not self.pushes and asked.method in ("POST", "PUT", "PATCH"):
            return refusal(403, "DENIED", "not enough permissions to deploy")
        tag = re.fullmatch(r"/v2/.+/manifests/([^:]+)", asked.path)
        if tag and asked.method in ("HEAD", "GET"):
            reply = self.registry(asked)
            return refusal(403, "DENIED", "forbidden") if reply.status == 404 or tag[1] in self.denied else reply
        if asked.path.endswith("/tags/list") and not self.lists:
            return refusal(403, "DENIED", "forbidden")
        return self.registry(asked)

    @staticmethod
    def _named_otherwise(refused: Reply) -> Reply:
        refused.more = [(name, value.replace("repository:", "repository:virtual/")) for name, value in refused.more]
        return refused
