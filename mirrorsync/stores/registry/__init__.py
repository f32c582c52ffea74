"""Registries of the OCI distribution spec. This is the face of the package: all others import from here alone."""

from mirrorsync.stores.registry.http.certificates import certificate_roots
from mirrorsync.stores.registry.http.retry import ATTEMPTS, Clock
from mirrorsync.stores.registry.login_check import accepts
from mirrorsync.stores.registry.store import RegistryStore, Surroundings
from mirrorsync.stores.registry.tls_probe import speaks_tls

__all__ = ["ATTEMPTS", "Clock", "RegistryStore", "Surroundings", "accepts", "certificate_roots", "speaks_tls"]
