"""A gateway: one name in front of other registries, which it sends its clients on to."""

from __future__ import annotations

from tests.parts.tiny_registry import App, Asked, Reply


def gateway(to: str) -> App:
    """Return an app that leads every question, `/v2/` too, to the same path at another registry. to: its URL."""
    return lambda asked: Reply(307, {"Location": f"{to}{asked.target}"})


def recording_gateway(to: str, *, ping: bool) -> App:
    """Return a gateway that answers `/v2/` by itself unless `ping` is led on too."""

    def answer(asked: Asked) -> Reply:
        return Reply() if asked.path == "/v2/" and not ping else gateway(to)(asked)

    return answer
