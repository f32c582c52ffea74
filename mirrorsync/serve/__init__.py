"""A server of the distribution API, over any store. The face of the package."""

from mirrorsync.serve.guard import Guard
from mirrorsync.serve.logins import Logins
from mirrorsync.serve.server import Settings, serving
from mirrorsync.serve.shown import Shown, Snapshot
from mirrorsync.serve.tls import Tls

__all__ = ["Guard", "Logins", "Settings", "Shown", "Snapshot", "Tls", "serving"]
