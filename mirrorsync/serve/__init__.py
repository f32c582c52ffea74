"""A server of the distribution API, over any store. The face of the package."""

from mirrorsync.serve.server import serving

__all__ = ["serving"]
