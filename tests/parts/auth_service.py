"""Authentication for the servers of the tests: a token service that records every request, and challenges."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.parts.tiny_registry import App, Asked, Reply, refusal

USER, PASSWORD, REFRESH = "robot", "canary-password-of-robot", "canary-refresh-token"


def basic(username: str = USER, password: str = PASSWORD) -> str:
    """Return the header of Basic authentication."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def needed_scopes(asked: Asked) -> list[str]:
    """Return the scopes that a request needs: `repository:name:action`, one for each action."""
    found = re.match(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/", asked.path)
    if found is None:
        return []
    actions = {"GET": ["pull"], "HEAD": ["pull"]}.get(asked.method, ["pull", "push"])
    needed = [f"repository:{found[1]}:{action}" for action in actions]
    if origin := asked.query.get("from"):
        needed.append(f"repository:{origin}:pull")
    return needed


@dataclass(frozen=True)
class TokenRequest:
    """One request for a token. grant: "password", "refresh token" or "anonymous"."""

    method: str
    grant: str
    scopes: tuple[str, ...]
    token: str


@dataclass
class AuthService:
    """A token service (call it with a request) and the guard of the registry that accepts its tokens.

    realm: the URL of the service. lifetime: of tokens, seconds, by `clock`. oauth: whether it supports POST. grants:
    returns those of the requested scopes that a token gets. challenges: of the guard, with {realm} and {scope}.
    """

    realm: str = "/token"
    lifetime: float | None = 300
    clock: Callable[[], float] = lambda: 0.0
    oauth: bool = True
    anonymous: bool = False
    grants: Callable[[Iterable[str]], Iterable[str]] = lambda scopes: scopes
    challenges: tuple[str, ...] = ('Bearer realm="{realm}",service="tests",scope="{scope}"',)
    token_requests: list[TokenRequest] = field(default_factory=list)
    extra: dict[str, object] = field(default_factory=dict)
    tokens: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)
    tells_why: bool = True  # whether a lack of rights gets error="insufficient_scope"
    asking: str = ""  # the grant of the request, while `grants` is called: as in TokenRequest

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request for a token."""
        if asked.method == "POST":
            form = parse_qs(asked.body.decode())
            scopes = tuple(" ".join(form.get("scope", [])).split())
            if not self.oauth:
                self._note(asked, "refresh token", scopes, "")
                return Reply(404)
            known = form.get("refresh_token") == [REFRESH] and form.get("grant_type") == ["refresh_token"]
            return self._given(asked, "refresh token", scopes, known=known)
        scopes = tuple(parse_qs(urlsplit(asked.target).query).get("scope", []))
        if not asked.authorization:
            return self._given(asked, "anonymous", scopes, known=self.anonymous)
        return self._given(asked, "password", scopes, known=asked.authorization == basic())

    def _given(self, asked: Asked, who: str, scopes: tuple[str, ...], *, known: bool) -> Reply:
        if not known:
            self._note(asked, who, scopes, "")
            return Reply(401, {"Content-Type": "application/json"}, b'{"details": "incorrect username or password"}')
        token = f"canary-token-{len(self.token_requests)}"
        actions = set()
        self.asking = who
        for scope in self.grants(scopes):
            kind, _, rest = scope.partition(":")
            name, _, verbs = rest.rpartition(":")
            actions |= {f"{kind}:{name}:{verb}" for verb in verbs.split(",")}
        self.tokens[token] = (self.clock() + (self.lifetime or 60), frozenset(actions))
        self._note(asked, who, scopes, token)
        document = {"token": token, **({"expires_in": self.lifetime} if self.lifetime else {}), **self.extra}
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _note(self, asked: Asked, who: str, scopes: tuple[str, ...], token: str) -> None:
        self.token_requests.append(TokenRequest(asked.method, who, scopes, token))

    def guard(self, asked: Asked) -> Reply | None:
        """Return None for a request with a token of the right scopes, the error answer for any other."""
        needed = needed_scopes(asked)
        token = asked.authorization.removeprefix("Bearer ")
        ends, allowed = self.tokens.get(token, (0.0, frozenset()))
        if token in self.tokens and self.clock() < ends:
            if allowed.issuperset(needed):
                return None
            return self.refusal(needed, ',error="insufficient_scope"' if self.tells_why else "")
        return self.refusal(needed)

    def refusal(self, needed: list[str], ending: str = "") -> Reply:
        """Return the error answer, with a challenge, for a request that needs rights."""
        reply = refusal(401, "UNAUTHORIZED", "authentication required")
        scope = " ".join(needed)
        for challenge in self.challenges:
            filled = challenge.replace("{realm}", self.realm).replace("{scope}", scope)
            reply.more.append(("WWW-Authenticate", filled + (ending if filled.startswith("Bearer") else "")))
        return reply


def basic_guard(*challenges: str, username: str = USER, password: str = PASSWORD) -> Callable[[Asked], Reply | None]:
    """Return a guard that requires Basic authentication."""

    def guard(asked: Asked) -> Reply | None:
        if asked.authorization == basic(username, password):
            return None
        reply = refusal(401, "UNAUTHORIZED", "authentication required")
        reply.more += [("WWW-Authenticate", challenge) for challenge in challenges]
        return reply

    return guard


def with_tokens(registry: App, service: App, path: str = "/token") -> App:
    """Return an app of a registry and its token service, which is under a path."""
    return lambda asked: service(asked) if asked.path == path else registry(asked)
