"""A server of the distribution API, over any store. The face of the package."""

from mirrorsync.serve.server import serving
from mirrorsync.serve.shown import Shown, Snapshot

__all__ = ["Shown", "Snapshot", "serving"]
