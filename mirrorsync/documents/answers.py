"""The documents of init, list-tags, login, logout and serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mirrorsync.documents.envelope import document

if TYPE_CHECKING:  # `login --get` starts faster without these imports
    from mirrorsync.credentials import Kept
    from mirrorsync.oci.reference import Location
    from mirrorsync.spec.explain import Verdict


def tags_document(
    location: Location, names: Iterable[str], verdicts: Iterable[tuple[str, Verdict]] | None = None
) -> dict[str, Any]:
    """Return a list of tags as a document. verdicts: every name with the filters' verdict on it, for `--explain`."""
    members: dict[str, Any] = {"store": location.store, "repository": location.repository, "tags": list(names)}
    if verdicts is not None:
        members["explained"] = [
            {"name": name, "wanted": verdict.wanted, "reasons": list(verdict.reasons)} for name, verdict in verdicts
        ]
    return document("tags", members)


def login_document(
    host: str, namespace: str, username: str, kept: Kept | None = None, *, checked: bool = False
) -> dict[str, Any]:
    """Return a login as a document. kept: where it was stored, None if only looked up. checked: by the host."""
    members: dict[str, Any] = {"host": host, "namespace": namespace, "username": username}
    if kept is not None:
        members |= {"checked": checked, "file": str(kept.path), "helper": kept.helper or None}
    return document("login", members)


def logout_document(removed: Sequence[str]) -> dict[str, Any]:
    """Return the hosts (with their namespaces) whose logins were removed as a document."""
    return document("logout", {"removed": list(removed)})


def serving_document(host: str, port: int, generation: int | None = None, *, tls: bool = False) -> dict[str, Any]:
    """Return the address that a server listens on as a document. generation: the only one that it shows."""
    return document("serving", {"host": host, "port": port, "tls": tls, "generation": generation})


def started_document(spec: str, mirrors: int, variables: Sequence[str]) -> dict[str, Any]:
    """Return the document of a spec that was written: its path, its number of mirrors, and the variables it needs."""
    return document("started", {"spec": spec, "mirrors": mirrors, "variables": list(variables)})
