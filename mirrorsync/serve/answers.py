"""JSON answers, whose Content-Type is exactly the media type, as the distribution spec writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

JSON: Final = "application/json"


def document(
    content: Mapping[str, Any], *, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an answer with `content` as JSON.

    aiohttp's own function adds `; charset=utf-8`. JSON has no such parameter (RFC 8259, 11), and the distribution spec
    requires exactly application/vnd.oci.image.index.v1+json for referrers: clients compare the whole header.
    """
    body = json.dumps(content).encode()
    return web.Response(body=body, status=status, headers={**(headers or {}), "Content-Type": media_type})
