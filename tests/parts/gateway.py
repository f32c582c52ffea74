"""A gateway: one host name in front of other registries, to which it redirects clients."""

from __future__ import annotations

from tests.parts.tiny_registry import App, Asked, Reply


def gateway(to: str) -> App:
    """Return an app that redirects every request, also `/v2/`, to the same path of another registry. to: its URL."""
    return lambda asked: Reply(307, {"Location": f"{to}{asked.target}"})


def recording_gateway(to: str, *, ping: bool) -> App:
    """Return a gateway that answers `/v2/` itself, unless `ping` says to redirect that too."""

    def answer(asked: Asked) -> Reply:
        return Reply() if asked.path == "/v2/" and not ping else gateway(to)(asked)

    return answer
