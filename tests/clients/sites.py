"""Specs with names of every form, and the files that a client gets of them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from mirrorsync.clients.formats import files_for
from mirrorsync.clients.model import Registry, Site, Written
from mirrorsync.clients.rules import rules_of
from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec

CORP = "corp.example:5000"
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
ALL = {"all": True}

# Every template that a name can have, of single repositories and of namespaces.
NAMES: list[Any] = [
    "docker.io/library/alpine:3.20",
    "docker.io/library/busybox:1.36",
    {"from": "docker.io/grafana/grafana", "tags": {"semver": ">=10"}, "name": "dash/{basename}"},
    {"from": "registry.example:8443/team/app:1", "name": "{host}/{repository}"},
    {"from": "ghcr.io/owner/tool:2", "name": "literal"},
    {"from": "quay.io/prometheus/*", "tags": ALL, "name": "{host}/{repository}", "exclude_repositories": ["*-beta"]},
    {"from": "quay.io/special/*", "tags": ALL, "name": "sp/{basename}"},
    {"from": "gcr.io/a/*", "tags": ALL, "name": "{repository}-copy"},
    {"from": "k8s.example/*-image", "tags": ALL, "name": "k/{basename}/{repository}"},
]


def spec_of(mirrors: list[Any], destination: str = f"{CORP}/mirror") -> Spec:
    """Return a spec with one destination, `corp`."""
    return _loaded(json.dumps({"version": 1, "destinations": {"corp": destination}, "mirrors": mirrors}))


@cache
def _loaded(text: str) -> Spec:
    return load(text.encode(), source="mirror.yaml", environment={}, base="/base")


def site(mirrors: list[Any], destination: str = f"{CORP}/mirror", *, fallback: bool = True, **registry: Any) -> Site:
    """Return what the files of a spec are made from. registry: settings of the destination."""
    spec = spec_of(mirrors, destination)
    corp = spec.destinations["corp"]
    rules, lost, _ = rules_of(spec.mirrors, corp)
    return Site("mirror.yaml", "corp", Registry(corp.location.store, **registry), rules, fallback, lost)


def files(client: str, mirrors: list[Any], destination: str = f"{CORP}/mirror", **settings: Any) -> dict[str, str]:
    """Return the text of each file that a client gets, by its path."""
    return {file.path: file.text for file in written(client, mirrors, destination, **settings).files}


def written(client: str, mirrors: list[Any], destination: str = f"{CORP}/mirror", **settings: Any) -> Written:
    """Return all that a client gets."""
    return files_for(client, site(mirrors, destination, **settings))


def body(text: str) -> str:
    """Return a file without its head."""
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#")).strip() + "\n"
