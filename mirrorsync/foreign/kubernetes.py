"""Where the objects of Kubernetes name the images that a cluster pulls, by their kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mirrorsync.foreign.deployers import GROUPS, Inside, images_of_deployer
from mirrorsync.foreign.manifests import Found, images_in
from mirrorsync.foreign.yaml_documents import mapping, mappings, text

# The groups of Kubernetes itself: their kinds are all known. "" is the core group, whose apiVersion is v1.
_BUILT_IN: Final = frozenset((
    "", "apps", "autoscaling", "batch", "extensions", "policy", "admissionregistration.k8s.io", "apiextensions.k8s.io",
    "apiregistration.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io",
    "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io", "resource.k8s.io",
    "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
))  # fmt: skip
# The way to the template of pods, of each kind that has one; all others of these groups pull nothing.
_PODS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), ("spec", "template")
    ),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_LIST: Final = "List"


def images_of(value: Any, inside: Inside) -> Iterator[Found]:
    """Yield the images that an object names, or a list of objects. inside: reads texts of YAML in them.

    Of the kinds of Kubernetes itself: in the containers and image volumes of pods, and not in other texts, which are
    data (a ConfigMap) or descriptions. Of custom resources, whose fields are not known, as `images_in` does.
    """
    kind, version = text(value.get("kind")), text(value.get("apiVersion"))
    group = version.rpartition("/")[0]
    if group not in _BUILT_IN:
        yield from images_of_deployer(value, inside) if group in GROUPS else images_in(value)
        return
    if kind.endswith(_LIST) and "items" in value:
        own = {"apiVersion": version, "kind": kind.removesuffix(_LIST)}  # the items of a PodList do not repeat it
        for item in mappings(value["items"]):
            yield from images_of({**own, **item}, inside)
        return
    if kind not in _PODS:
        return
    template = value
    for key in _PODS[kind]:
        template = mapping(template.get(key))
    spec = mapping(template.get("spec"))
    for key in _CONTAINERS:
        for container in mappings(spec.get(key)):
            yield from images_in(container)
    for volume in mappings(spec.get("volumes")):
        written = text(mapping(volume.get("image")).get("reference"))
        if written:
            yield Found(written, "reference", {"reference": written})
