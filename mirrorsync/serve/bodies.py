"""Read the bodies of requests, with a limit on how long the client may take.

Bodies are not decoded by their Content-Encoding. A digest is of the bytes that were sent, a registry stores those, and
a gzip body of half a megabyte may expand to 512 MiB. So an encoded body is stored as it is if that matches its digest,
and rejected otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from mirrorsync.serve.patience import Patience
from mirrorsync.serve.refusals import Refusal


async def body_of(request: web.Request, patience: Patience) -> AsyncIterator[bytes]:
    """Yield a request's body. Only the time spent waiting for the client counts.

    Raises: Refusal if the body breaks off (the client is gone, and does not get the answer) or stalls.
    """
    clock = asyncio.get_running_loop().time
    waited, came = 0.0, 0
    try:
        while True:
            begun = clock()
            try:
                async with asyncio.timeout(patience.stall_seconds - waited):
                    chunk = await request.content.readany()
            except TimeoutError:
                if came < patience.stall_bytes:
                    raise _stalled(came, patience) from None
                waited, came = 0.0, 0
                continue
            if not chunk:
                return
            waited, came = waited + clock() - begun, came + len(chunk)
            yield chunk
    except (OSError, web.RequestPayloadError) as error:
        raise Refusal(400, "SIZE_INVALID", "the body broke off") from error


def _stalled(came: int, patience: Patience) -> Refusal:
    return Refusal(408, "SIZE_INVALID", f"received only {came} bytes of the body in {patience.stall_seconds:g} s")
