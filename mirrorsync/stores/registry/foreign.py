"""Foreign layers: read from the URLs in their descriptors, if the registry does not have them itself.

Whoever has published an image has chosen these URLs, so they are treated like a redirect of the registry: credentials
are never sent, and no registry elsewhere leads to this machine or its network. Only https is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.errors import ContentNotFound, IntegrityError, Interrupted, MirrorsyncError, RegistryFailure
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.stores.registry.blob_coding import SLACK, blob_of
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import Request
from mirrorsync.stores.registry.http.origins import resolved
from mirrorsync.text import printable

_MAX_URLS: Final = 5
_ABSENT: Final = frozenset({404})
_REMEDY: Final = "mirror the image without this layer: foreign_layers: skip"


async def read_foreign(client: Client, layer: Descriptor) -> bytes:
    """Return a small layer, whole and verified.

    Raises: ContentNotFound if no URL has it, with the reason of each; IntegrityError if one has other content.
    """
    failures: list[str] = []
    for url in _usable(layer, client.url, failures):
        request = Request("GET", url, limit=layer.size + SLACK, known=_ABSENT, as_sent=True)
        try:
            answer = await client.ask(request, f"reading foreign layer {layer.digest.short}")
            if answer.status != 404:
                return blob_of(answer, layer)
            failures.append(f"{_host(url)}: there is no such file")
        except (Interrupted, IntegrityError):
            raise
        except MirrorsyncError as error:
            failures.append(f"{_host(url)}: {error.message}")
    raise _nowhere(failures)


@contextmanager
def open_foreign(client: Client, layer: Descriptor, offset: int) -> Iterator[Iterator[bytes]]:
    """Read a layer's chunks from `offset` on, unverified. Blocking. Raises, on entry: as `read_foreign`."""
    from mirrorsync.stores.registry.download import Download

    failures: list[str] = []
    for url in _usable(layer, client.url, failures):
        with ExitStack() as open_now:
            try:
                chunks = open_now.enter_context(Download(client, Request("GET", url), layer, offset).chunks())
            except (Interrupted, IntegrityError):
                raise
            except MirrorsyncError as error:
                failures.append(f"{_host(url)}: {error.message}")
                continue
            yield chunks
            return
    raise _nowhere(failures)


def _usable(layer: Descriptor, registry: str, failures: list[str]) -> Iterator[str]:
    """Yield the URLs that may be asked; for each of the others, a reason is added to `failures`."""
    for url in layer.urls[:_MAX_URLS]:
        try:
            yield safe_url(url, registry)
        except RegistryFailure as error:
            failures.append(error.message)


def safe_url(url: str, registry: str) -> str:
    """Return a foreign layer's URL if it may be asked. registry: the URL of the registry that has the manifest.

    Raises: RegistryFailure if it is not https, has credentials, or leads inward while the registry is elsewhere.
    """
    if not url.lower().startswith("https://"):
        raise RegistryFailure(f"{printable(url, 80)!r} is not an https URL")
    return resolved(f"{registry}/", url, registry)


def _host(url: str) -> str:
    return printable(urlsplit(url).netloc)


def _nowhere(failures: Sequence[str]) -> ContentNotFound:
    why = f" ({'; '.join(failures)})" if failures else ": it has no URLs"
    return ContentNotFound(f"neither the registry nor its URLs have the foreign layer{why}", remedy=_REMEDY)
