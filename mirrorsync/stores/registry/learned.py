"""The behaviour of one host, as learned in a run and shared by all its repositories."""

from __future__ import annotations

from mirrorsync.stores.registry.blob_coding import BlobCoding
from mirrorsync.stores.registry.heads import Heads
from mirrorsync.stores.registry.pages import PageSize
from mirrorsync.stores.registry.upload import PartSize


class Learned:
    """The behaviour of one host, as learned in this run. host: of its API, with the port.

    mounts: False after it has claimed to have mounted a blob and had not.
    """

    def __init__(self, host: str) -> None:
        self.parts = PartSize()
        self.page_size = PageSize()
        self.coding = BlobCoding()
        self.heads = Heads(host)
        self.mounts = True
