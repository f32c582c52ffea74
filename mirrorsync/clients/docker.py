"""docker: registry-mirrors in daemon.json, for Docker Hub only, and only at the root of a registry.

dockerd refuses a mirror with a path ("path, query, or fragment at end of the URI", registry/config.go of moby), and
comments, so that what to do is in a file next to it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mirrorsync.clients.bases import bases
from mirrorsync.clients.head import Advice, lines, secrets_note
from mirrorsync.clients.model import File, Lost, Site, Written

_HUB: Final = "docker.io"
_DAEMON: Final = "/etc/docker/daemon.json"
_ONLY_HUB: Final = "docker has mirrors only for Docker Hub"
_ONLY_ROOT: Final = (
    "docker asks a mirror for the names of Docker Hub at its root: use name: '{repository}' and a destination without "
    "a prefix"
)


def docker(site: Site) -> Written:
    """Return the files for docker."""
    lost = [Lost(rule, _ONLY_HUB) for rule in site.rules if rule.host != _HUB]
    found, others = bases([rule for rule in site.rules if rule.host == _HUB], _ONLY_ROOT)
    lost += others
    lost += [Lost(rule, _ONLY_ROOT) for rule in site.rules if rule.host == _HUB and rule.base]
    if "" not in found.get(_HUB, ()):
        return Written(lost=tuple(lost))
    members: dict[str, Any] = {"registry-mirrors": [site.registry.url]}
    if site.registry.insecure:
        members["insecure-registries"] = [site.registry.host]
    advice = Advice(
        f"{_DAEMON}; if it exists already, add the keys to it",
        "systemctl reload docker",
        f"docker info --format '{{{{.RegistryConfig.Mirrors}}}}', then docker pull {_example(site)}",
        "remove the keys and reload",
        (
            "docker falls back to Docker Hub by itself, and asks a mirror without a login",
            *secrets_note(site.registry, "docker has no place for it"),
        ),
    )
    text = "".join(f"{line}\n" for line in lines(site, "docker", advice, lost))
    files = [File(_DAEMON, json.dumps(members, indent=2) + "\n"), File(f"{_DAEMON}.README", text)]
    if site.registry.ca:
        files.append(File(f"/etc/docker/certs.d/{site.registry.host}/ca.crt", site.registry.ca))
    return Written(tuple(files), tuple(lost))


def _example(site: Site) -> str:
    return next(rule.example for rule in site.rules if rule.host == _HUB and rule.base == "")
