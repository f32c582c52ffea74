"""Harbor's projects: a push needs one, quotas are per project, and Harbor's own API creates them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.parts.auth_service import AuthService, basic, with_tokens
from tests.parts.tiny_registry import App, Asked, Reply, TinyRegistry, refusal

# By version, and by whether the account is one of the system or of a project.
MISSING = {
    404: ("NOT_FOUND", "project {project} not found"),
    401: ("UNAUTHORIZED", "project {project} not found: project {project} not found"),
    403: ("DENIED", "project {project} not found"),
}


@dataclass
class Harbor:
    """One Harbor. missing: the status for a repository without a project. quota: bytes per project.

    may_create: whether the account may create projects. posts: the documents that were posted to its API. outdated: how
    many requests came with a token that was issued before their project was created.
    """

    missing: int = 404
    quota: int | None = None
    may_create: bool = True
    projects: set[str] = field(default_factory=set)
    posts: list[dict[str, object]] = field(default_factory=list)
    outdated: int = 0
    clock: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.auth_service = AuthService(clock=self.clock, grants=self._granted)
        self.registry = TinyRegistry(guard=self._guard)

    @property
    def app(self) -> App:
        """The registry, its token service and its API."""
        registry = with_tokens(self.registry, self.auth_service, "/service/token")
        return lambda asked: self._api(asked) if asked.path.startswith("/api/") else registry(asked)

    def at(self, url: str) -> None:
        """Set the URL under which it is reachable."""
        self.auth_service.realm = f"{url}/service/token"

    def _granted(self, scopes: Iterable[str]) -> Iterable[str]:
        """An account without projects has no rights in them; an administrator has rights before a project exists."""
        if self.missing == 404:
            return scopes
        return [scope for scope in scopes if scope.split(":")[1].partition("/")[0] in self.projects]

    def _guard(self, asked: Asked) -> Reply | None:
        project = asked.path.removeprefix("/v2/").partition("/")[0]
        refused = self.auth_service.guard(asked)
        if project and project not in self.projects and asked.authorization:
            code, message = MISSING[self.missing]
            reply = refusal(self.missing, code, message.replace("{project}", project))
            reply.more = refused.more if refused is not None and self.missing == 401 else []
            return reply
        if refused is not None and project in self.projects and asked.authorization:
            self.outdated += 1
        if refused is None and asked.method == "PUT" and self.quota is not None and len(asked.body) > self.quota:
            words = "adding 2.0 MiB of storage resource, which when updated to current usage of 0 Byte will exceed the "
            return refusal(403, "DENIED", f"{words}configured upper limit of 1.0 MiB.")
        return refused

    def _api(self, asked: Asked) -> Reply:
        if asked.path != "/api/v2.0/projects" or asked.method != "POST":
            return Reply(404, {"Content-Type": "application/json"}, b'{"errors": [{"code": "NOT_FOUND"}]}')
        if asked.authorization != basic():
            return refusal(401, "UNAUTHORIZED", "unauthorized")
        if not self.may_create:
            return refusal(403, "FORBIDDEN", "forbidden")
        document = json.loads(asked.body)
        self.posts.append(document)
        if document["project_name"] in self.projects:
            return refusal(409, "CONFLICT", f"The project named {document['project_name']} already exists")
        self.projects.add(document["project_name"])
        return Reply(201, {"Location": f"/api/v2.0/projects/{len(self.projects)}"})
