"""OpenShift: an ImageDigestMirrorSet and an ImageTagMirrorSet, from 4.13.

The fields are those of config.openshift.io/v1 (openshift/api, types_image_digest_mirror_set.go and
types_image_tag_mirror_set.go); the key of a CA is that of image.config.openshift.io.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mirrorsync.clients.containers import prefixes
from mirrorsync.clients.head import Advice, block, head, quoted, secrets_note
from mirrorsync.clients.model import File, Lost, Site, Written

_SETS: Final = (("ImageDigestMirrorSet", "imageDigestMirrors"), ("ImageTagMirrorSet", "imageTagMirrors"))
_INSECURE: Final = (
    "the registry has no TLS, or a certificate that is not verified: add it to "
    "spec.registrySources.insecureRegistries of image.config.openshift.io/cluster"
)


def openshift(site: Site) -> Written:
    """Return the files for OpenShift."""
    found, lost, notes = prefixes(site)
    if not found:
        return Written(lost=tuple(lost))
    files = [
        File(
            f"{site.slug}-{kind.lower()}.yaml",
            _head(site, f"{site.slug}-{kind.lower()}.yaml", kind.lower(), notes, lost)
            + f"apiVersion: config.openshift.io/v1\nkind: {kind}\nmetadata:\n  name: {site.slug}\nspec:\n  {key}:\n"
            + "".join(_entry(site, source, mirrors) for source, mirrors in found.items()),
        )
        for kind, key in _SETS
    ]
    if site.registry.ca:
        files.append(_ca(site))
    return Written(tuple(files), tuple(lost), tuple(notes))


def _head(site: Site, file: str, kind: str, notes: list[str], lost: list[Lost]) -> str:
    by = "digest" if "digest" in kind else "tag"
    more = [*notes, *([_INSECURE] if site.registry.insecure else [])]
    more += secrets_note(site.registry, "in the cluster's pull secret (oc edit secret/pull-secret -n openshift-config)")
    advice = Advice(
        f"the cluster; for images that are pulled by {by}, the other set for the rest",
        f"oc apply -f {file}; the machine config operator brings it to the nodes",
        f"oc debug node/NODE -- chroot /host grep -A9 {site.registry.host} /etc/containers/registries.conf",
        f"oc delete {kind} {site.slug}",
        tuple(more),
    )
    return head(site, "openshift", advice, lost)


def _entry(site: Site, source: str, mirrors: list[str]) -> str:
    policy = "AllowContactingSource" if site.fallback else "NeverContactSource"
    text = f"    - source: {quoted(source)}\n      mirrors:\n"
    return text + "".join(f"        - {quoted(one)}\n" for one in mirrors) + f"      mirrorSourcePolicy: {policy}\n"


def _ca(site: Site) -> File:
    name = f"{site.slug}-ca"
    patch = f'{{"spec":{{"additionalTrustedCA":{{"name":"{name}"}}}}}}'
    advice = Advice(
        "the cluster, before the other files",
        f"oc apply -f {name}.yaml, and oc patch image.config.openshift.io/cluster --type=merge -p '{patch}'; if it "
        "names a ConfigMap already, add the key to that one",
        "oc get image.config.openshift.io/cluster -o yaml",
        f"remove the name from image.config.openshift.io/cluster, then oc delete -n openshift-config configmap {name}",
    )
    key = site.registry.host.replace(":", "..")
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: openshift-config\ndata:\n"
    return File(
        f"{name}.yaml",
        head(replace(site, lost=()), "openshift", advice)
        + text
        + f"  {quoted(key)}: |\n{block(site.registry.ca, '    ')}",
    )
