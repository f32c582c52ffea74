"""One repository's part of a registry's API: its URLs and scopes."""

from __future__ import annotations

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.registry.destination import DestinationQuestions
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.pages import Asks, PageSize


class Api:
    """The URLs and scopes of a repository. pull, push: scopes.

    asks: sends requests that read. destination: the repository will be written; see destination.py.
    """

    def __init__(self, client: Client, name: str, page_size: PageSize, *, destination: bool = False) -> None:
        self.client = client
        self.name = name
        self.push = (f"repository:{name}:pull,push",)
        self.pull = self.push if destination else (f"repository:{name}:pull",)
        self.asks: Asks = DestinationQuestions(client, name, self.push, page_size) if destination else client
        self.delete = (f"repository:{name}:pull,push,delete",)

    @property
    def url(self) -> str:
        """The URL of all of it, such as https://host/v2/name."""
        return f"{self.client.url}/v2/{self.name}"

    def manifest(self, ref: Tag | Digest) -> str:
        """Return the URL of a manifest, by tag or digest."""
        return f"{self.url}/manifests/{ref}"

    def blob(self, digest: Digest) -> str:
        """Return the URL of a blob."""
        return f"{self.url}/blobs/{digest}"
