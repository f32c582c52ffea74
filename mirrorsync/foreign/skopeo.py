"""The specs of skopeo sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mirrorsync.foreign.draft import (
    ALL_TAGS,
    Draft,
    Entry,
    escaped,
    whole_tag,
)
from mirrorsync.foreign.yaml_documents import mapping, text, texts, true

# skopeo sync: hosts as keys (cmd/skopeo/sync.go, registrySyncConfig).
_SKOPEO_IMAGES: Final = ("images", "images-by-tag-regex", "images-by-semver")
_SKOPEO_KEYS: Final = frozenset({*_SKOPEO_IMAGES, "credentials", "tls-verify", "cert-dir"})


def is_skopeo(value: Any) -> bool:
    """Return whether a document is a spec of skopeo sync."""
    hosts = list(mapping(value).values())
    known = all(isinstance(host, dict) and host.keys() <= _SKOPEO_KEYS for host in hosts)
    return known and any(key in host for host in hosts for key in _SKOPEO_IMAGES)


def read_skopeo(value: Any) -> Draft:
    """Read a spec of skopeo sync. A repository can be under all three keys; then their tags are united."""
    draft = Draft()
    for host, members in value.items():
        for repository, wanted in mapping(members.get("images")).items():
            tags = tuple(texts(wanted))
            source = f"{host}/{repository}"
            draft.entries.append(_repository(source, tags) if tags else _repository(source, filters=ALL_TAGS))
        for repository, expression in mapping(members.get("images-by-tag-regex")).items():
            draft.entries.append(_repository(f"{host}/{repository}", filters={"regex": whole_tag(text(expression))}))
        for repository, versions in mapping(members.get("images-by-semver")).items():
            draft.entries.append(_repository(f"{host}/{repository}", filters={"semver": text(versions)}))
        _skopeo_host(host, members, draft)
    draft.note(
        "skopeo sync writes to DESTINATION/basename without --scoped: name: {basename}; with it, {host}/{repository}"
    )
    return draft


def _skopeo_host(host: str, members: Mapping[str, Any], draft: Draft) -> None:
    settings: dict[str, Any] = {}
    notes = []
    if text(members.get("cert-dir")):
        settings["cert_dir"] = escaped(members["cert-dir"])
    if "tls-verify" in members and not true(members["tls-verify"]):
        settings["insecure_skip_verify"] = True
        notes.append(
            "tls-verify: false of skopeo also allows http: write plain_http: true instead if this host has no TLS"
        )
    username = text(mapping(members.get("credentials")).get("username"))
    if username or settings:
        draft.login(host, escaped(username), settings, notes)


def _repository(source: str, tags: tuple[str, ...] = (), filters: Mapping[str, Any] | None = None) -> Entry:
    return Entry(escaped(source), tags, filters or {})
