"""Bundles on disk: a store that reads them, and the check of their parts. The face of the package."""

from mirrorsync.stores.bundle.found import Found, bundles_in, find_bundle, find_names, highest_number, newest_in
from mirrorsync.stores.bundle.part import PartFile
from mirrorsync.stores.bundle.piped import PipedPart, piped_bundle
from mirrorsync.stores.bundle.rebuilt import Base
from mirrorsync.stores.bundle.store import BundleStore
from mirrorsync.stores.bundle.verify import UNTAPPED, Sink, Tap, check_bundle, reporting

__all__ = [
    "UNTAPPED",
    "Base",
    "BundleStore",
    "Found",
    "PartFile",
    "PipedPart",
    "Sink",
    "Tap",
    "bundles_in",
    "check_bundle",
    "find_bundle",
    "find_names",
    "highest_number",
    "newest_in",
    "piped_bundle",
    "reporting",
]
