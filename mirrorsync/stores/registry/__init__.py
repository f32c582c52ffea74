"""Registries of the OCI distribution spec. This is the face of the package: all others import from here alone."""

from mirrorsync.stores.registry.endpoints import with_endpoints
from mirrorsync.stores.registry.login_check import accepts, probe
from mirrorsync.stores.registry.store import RegistryStore

__all__ = ["RegistryStore", "accepts", "probe", "with_endpoints"]
