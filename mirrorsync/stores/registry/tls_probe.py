"""Whether a host speaks TLS: asked where any certificate will do, since skopeo takes plain HTTP there too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mirrorsync.errors import TlsFailed
from mirrorsync.hosts import HostSettings
from mirrorsync.stores.registry.http.messages import Answer, Outgoing, Request
from mirrorsync.stores.registry.http.network import Network, api_url
from mirrorsync.stores.registry.http.questions import Questions
from mirrorsync.stores.registry.http.retry import Transient

# What Go's servers ("to an HTTPS server") and nginx ("to HTTPS port") say to who speaks no TLS to them.
_WANTS_TLS = b"HTTPS"


async def speaks_tls(host: str, settings: HostSettings, proxies: Mapping[str, str]) -> bool:
    """Tell whether a registry is to be spoken to over TLS: unless it answers without, and with TLS not at all.

    Its certificate is not looked at, and no credentials are sent. A host that gives no answer either way counts as one
    with TLS: who asks it something will be told what is wrong.
    """
    blind = replace(settings, insecure_skip_verify=True, plain_http=False)
    if await _answer(host, blind, proxies) is not None:
        return True
    answer = await _answer(host, replace(blind, plain_http=True), proxies)
    return answer is None or (answer.status == 400 and _WANTS_TLS in answer.body)


async def _answer(host: str, settings: HostSettings, proxies: Mapping[str, str]) -> Answer | None:
    url = api_url(host, plain_http=settings.plain_http)
    questions = Questions(Network(settings, proxies, url))
    try:
        return await questions.send(Outgoing(Request("GET", f"{url}/v2/")))
    except (Transient, TlsFailed):
        return None
    finally:
        await questions.close()
