"""Nexus behind a proxy: the Links of its lists have the path of Nexus itself instead of the proxy's, or half of it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.parts.tiny_registry import App, Asked, Reply

# The Link of a list that was asked for as /v2/repository/docker-proxy/app/tags/list, and what it should be.
LINKS = {
    "the prefix is missing": "/v2/app/tags/list",
    "its own path": "/repository/docker-proxy/v2/app/tags/list",
    "an address inside": "http://{host}/repository/docker-proxy/v2/app/tags/list",
    "the whole path": "/v2/repository/docker-proxy/app/tags/list",
}


def nexus(path: str, pages: Sequence[Sequence[str]], link: str) -> App:
    """Return a registry that lists one repository under a path, and answers 404 to every other path."""

    def answer(asked: Asked) -> Reply:
        if asked.path != path:
            return Reply(400 if asked.path.startswith("/repository") else 404)
        number = int(asked.query.get("last", "0"))
        body = json.dumps({"name": "app", "tags": [*pages[number], None]}).encode()
        more = number + 1 < len(pages)
        where = link.replace("{host}", str(asked.headers["Host"]))
        return Reply(200, {"Link": f'<{where}?n=1000&last={number + 1}>; rel="next"'} if more else {}, body)

    return answer
