"""Clients that put one path before all names of a registry: containerd, Talos, docker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mirrorsync.clients.model import Lost, Rule, by_host

_REASON: Final = (
    "the names at the destination must be those of the source behind one path; use name: '{repository}' or "
    "'{host}/{repository}'"
)


def bases(rules: Sequence[Rule], reason: str = _REASON) -> tuple[dict[str, list[str]], list[Lost]]:
    """Return the paths at the destination for every host, and the rules without one.

    They are in the order in which they are tried; "" is the root of the destination.
    """
    found: dict[str, list[str]] = {}
    lost = []
    for host, of_host in by_host(rules).items():
        for rule in of_host:
            base = rule.base
            if base is None:
                lost.append(Lost(rule, reason))
            elif base not in found.setdefault(host, []):
                found[host].append(base)
    return {host: paths for host, paths in found.items() if paths}, lost
