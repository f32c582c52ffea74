"""The clients that files can be written for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.clients import containerd, containers, docker, k3s, kyverno, openshift, talos
from mirrorsync.clients.model import Site, Written


@dataclass(frozen=True, slots=True)
class Client:
    """name: for --for. title: for people. write: makes its files.

    blocks: whether its files can keep it from the sources: it has no fallback, or one that can be switched off.
    """

    name: str
    title: str
    write: Callable[[Site], Written]
    blocks: bool = True


CLIENTS: Final = (
    Client("containerd", "containerd: certs.d/HOST/hosts.toml", containerd.containerd),
    Client("podman", "podman, buildah, skopeo: a drop-in for registries.conf", containers.podman),
    Client("crio", "CRI-O: a drop-in for registries.conf", containers.crio),
    Client("docker", "docker: daemon.json", docker.docker, blocks=False),
    Client("k3s", "k3s: registries.yaml", k3s.k3s),
    Client("rke2", "RKE2: registries.yaml", k3s.rke2),
    Client("talos", "Talos: RegistryMirrorConfig", talos.talos),
    Client("openshift", "OpenShift: ImageDigestMirrorSet, ImageTagMirrorSet", openshift.openshift),
    Client("kyverno", "Kyverno: a MutatingPolicy, or a ClusterPolicy", kyverno.kyverno),
)
NAMES: Final = tuple(client.name for client in CLIENTS)


def files_for(name: str, site: Site) -> Written:
    """Return the files for a client, by its name, with the rules that are lost because of it or of the spec."""
    client = next(one for one in CLIENTS if one.name == name)
    written = client.write(site)
    return replace(written, lost=(*site.lost, *written.lost))
