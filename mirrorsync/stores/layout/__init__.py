"""OCI image layouts: directories, and archives of them. The face of the package."""

from mirrorsync.stores.layout.archive import LayoutArchive
from mirrorsync.stores.layout.store import LayoutDirectoryStore, LayoutStore

__all__ = ["LayoutArchive", "LayoutDirectoryStore", "LayoutStore"]
