"""Which token services may get the credentials of a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.stores.registry.http.origins import origin, same_origin

# Token services on another host than their registry that are known to be the registry's own. No other host gets
# credentials, unless the spec names it in realm_hosts (CVE-2026-33540, CVE-2026-48978 happen without).
_OWN_REALMS: Final = {
    "https://registry-1.docker.io": "https://auth.docker.io",
    "https://registry.gitlab.com": "https://gitlab.com",
}


@dataclass(frozen=True, slots=True)
class Realms:
    """The token services of one registry. registry: its URL; named: `host` or `host:port` of others that it may have.

    A registry's own origin is trusted: scheme, host and port. Another port of its host may belong to another user. A
    host that is named without a port means every port of it.
    """

    registry: str
    named: tuple[str, ...] = ()

    def trusts(self, url: str) -> bool:
        """Return whether a URL is one of them. Raises: RegistryFailure if it is not an http(s) URL."""
        if same_origin(url, self.registry):
            return True
        own = next((realm for home, realm in _OWN_REALMS.items() if same_origin(home, self.registry)), None)
        if own is not None and same_origin(url, own):
            return True
        _, host, port = origin(url)
        return any(_fits(entry, host, port) for entry in self.named)


def _fits(entry: str, host: str, port: int) -> bool:
    parts = urlsplit(f"//{entry}")
    return parts.hostname == host and parts.port in (None, port)
