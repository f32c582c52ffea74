"""Docker's formats: archives of `docker save`, and the daemon. The face of the package."""

from mirrorsync.stores.docker.archive_store import DockerArchiveStore
from mirrorsync.stores.docker.daemon_store import DockerDaemonStore

__all__ = ["DockerArchiveStore", "DockerDaemonStore"]
