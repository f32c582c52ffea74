"""The distribution API over any store, as a server. The face of the package."""

from mirrorsync.serve.server import serving

__all__ = ["serving"]
