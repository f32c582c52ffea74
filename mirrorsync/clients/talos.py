"""Talos: RegistryMirrorConfig documents, and the same for machines before Talos 1.12 in machine.registries.

The fields are those of siderolabs/talos, pkg/machinery/config/types/cri (registry_mirror.go, registry_tls.go) and
types/v1alpha1 (RegistriesConfig).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from mirrorsync.clients.bases import bases
from mirrorsync.clients.head import NO_PULL_SECRETS, Advice, block, head, quoted, secrets_note
from mirrorsync.clients.model import File, Lost, Site, Written


def talos(site: Site) -> Written:
    """Return the files for Talos: patches of the machine configuration, of which one is used."""
    found, lost = bases(site.rules)
    if not found:
        return Written(lost=tuple(lost))
    documents, machine = f"{site.slug}.yaml", f"{site.slug}-before-1.12.yaml"
    return Written(
        (
            File(
                documents,
                _head(site, documents, "a patch for Talos 1.12 or newer", lost)
                + "---\n".join([*_documents(site, found), *_tls_document(site)]),
            ),
            File(machine, _head(site, machine, "a patch for Talos before 1.12", lost) + _machine(site, found)),
        ),
        tuple(lost),
    )


def _head(site: Site, file: str, what: str, lost: list[Lost]) -> str:
    example = next(rule.example for rule in site.rules if rule.base is not None)
    advice = Advice(
        f"{what}; the other file is for other versions",
        f"talosctl patch machineconfig --patch @{file} --nodes NODE, or --config-patch @{file} of talosctl gen config; "
        "no reboot is needed",
        f"talosctl image pull --namespace cri {example} --nodes NODE",
        "talosctl edit machineconfig --nodes NODE, and delete these entries",
        secrets_note(
            site.registry, f"in a RegistryAuthConfig, or machine.registries.config before 1.12; {NO_PULL_SECRETS}"
        ),
    )
    return head(site, "talos", advice, lost)


def _documents(site: Site, found: dict[str, list[str]]) -> Iterator[str]:
    for host, paths in found.items():
        text = f"apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: {quoted(host)}\nendpoints:\n"
        for path in paths:
            text += f"  - url: {quoted(site.registry.api(path))}\n    overridePath: true\n"
        yield text + ("" if site.fallback else "skipFallback: true\n")


def _tls_document(site: Site) -> Iterator[str]:
    registry = site.registry
    if not registry.ca and not registry.skip_verify:
        return
    text = f"apiVersion: v1alpha1\nkind: RegistryTLSConfig\nname: {quoted(registry.host)}\n"
    text += f"ca: |\n{block(registry.ca, '  ')}" if registry.ca else ""
    yield text + ("insecureSkipVerify: true\n" if registry.skip_verify else "")


def _machine(site: Site, found: dict[str, list[str]]) -> str:
    registry = site.registry
    text = "machine:\n  registries:\n    mirrors:\n"
    for host, paths in found.items():
        text += f"      {quoted(host)}:\n        endpoints:\n"
        text += "".join(f"          - {quoted(registry.api(path))}\n" for path in paths)
        text += "        overridePath: true\n" + ("" if site.fallback else "        skipFallback: true\n")
    if registry.ca or registry.skip_verify:
        text += f"    config:\n      {quoted(registry.host)}:\n        tls:\n"
        # Here Talos wants base64 of the PEM, and in its document the PEM.
        ca = base64.b64encode(registry.ca.encode()).decode()
        text += f"          ca: {quoted(ca)}\n" if registry.ca else ""
        text += "          insecureSkipVerify: true\n" if registry.skip_verify else ""
    return text
