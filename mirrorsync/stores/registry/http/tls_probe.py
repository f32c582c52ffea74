"""Find out whether a host speaks TLS, if plain HTTP is allowed instead, as skopeo does with `--tls-verify=false`."""

from __future__ import annotations

from mirrorsync.errors import TlsFailed, Unreachable
from mirrorsync.stores.registry.http.messages import Answer, Outgoing, Request
from mirrorsync.stores.registry.http.questions import Questions
from mirrorsync.stores.registry.http.retry import Transient

# What Go's servers ("to an HTTPS server") and nginx ("to HTTPS port") answer to plain HTTP.
_WANTS_TLS = b"HTTPS"


async def answers_with_tls(secure: Questions, url: str) -> bool:
    """Return whether a host answers over TLS at all, with any status; no credentials are sent. url: of the registry.

    Raises: TlsFailed for unusable certificates of the client, which say nothing about the host.
    """
    secure.check_route(url)
    return await _answer(secure, url) is not None


async def answers_without_tls(plain: Questions, url: str) -> bool:
    """Return whether a host answers over plain HTTP, other than to demand TLS; no credentials are sent."""
    answer = await _answer(plain, url)
    return answer is not None and not (answer.status == 400 and _WANTS_TLS in answer.body)


async def _answer(questions: Questions, url: str) -> Answer | None:
    try:
        return await questions.send(Outgoing(Request("GET", f"{url}/v2/")))
    except (Transient, TlsFailed, Unreachable):
        return None
