"""ECR: a push creates no repository, a page has at most 1,000 names, and rate limits are answered with 400 or 403."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.parts.auth_service import basic_guard
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal


@dataclass
class Ecr:
    """One registry of ECR; call it with a request. repositories: those that exist. largest_page: of its lists."""

    repositories: set[str] = field(default_factory=set)
    largest_page: int = 999

    def __post_init__(self) -> None:
        self.registry = TinyRegistry(guard=basic_guard('Basic realm="https://ecr.example",service="ecr.amazonaws.com"'))

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        name = next((name for name in self.repositories if asked.path.startswith(f"/v2/{name}/")), None)
        if asked.path.startswith("/v2/") and asked.path != "/v2/" and name is None and asked.authorization:
            message = "The repository with name 'new' does not exist in the registry with id '123456789012'"
            return refusal(404, "NAME_UNKNOWN", message)
        if asked.path.endswith("/tags/list") and int(asked.query.get("n", 0)) > self.largest_page:
            return refusal(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        return self.registry(asked)
