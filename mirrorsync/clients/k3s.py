"""k3s and RKE2: registries.yaml, which renames with expressions.

Its keys are those of docs.k3s.io/installation/private-registry, which RKE2 shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mirrorsync.clients.expressions import Rewrite, rewrites
from mirrorsync.clients.head import NO_PULL_SECRETS, Advice, head, quoted, secrets_note
from mirrorsync.clients.model import File, Lost, Site, Written, by_host

_ITSELF: Final = "it is at the same registry, whose default endpoint is asked without rewrites"


def k3s(site: Site) -> Written:
    """Return the files for k3s."""
    return _written(site, "k3s", "k3s crictl", "systemctl restart k3s (on agents: k3s-agent)")


def rke2(site: Site) -> Written:
    """Return the files for RKE2."""
    crictl = "/var/lib/rancher/rke2/bin/crictl --config /var/lib/rancher/rke2/agent/etc/crictl.yaml"
    return _written(site, "rke2", crictl, "systemctl restart rke2-server (on agents: rke2-agent)")


def _written(site: Site, name: str, crictl: str, restart: str) -> Written:
    itself = [rule for rule in site.rules if rule.host == site.registry.host]
    found, lost = rewrites([rule for rule in site.rules if rule not in itself], ordered=False)
    lost = [*(Lost(rule, _ITSELF) for rule in itself), *lost]
    if not found:
        return Written(lost=tuple(lost))
    directory = f"/etc/rancher/{name}"
    path, config = f"{directory}/registries.yaml", f"{directory}/config.yaml.d/50-{site.slug}.yaml"
    log = f"/var/lib/rancher/{name}/agent/containerd/containerd.log"
    login = f"fill in auth: below, and chmod 600 {path}; {NO_PULL_SECRETS}"
    advice = Advice(
        f"{path}, on every node; if it exists already, add the entries to it",
        restart,
        f"{crictl} pull {found[0].rules[0].example}; {log} names the destination",
        f"rm {path}, and {restart}",
        secrets_note(site.registry, login),
    )
    files = [File(path, head(site, name, advice, lost) + "".join(_mirrors(site, found)) + _configs(site, directory))]
    if site.registry.ca:
        files.append(File(_ca(directory, site), site.registry.ca))
    if not site.fallback:
        advice = Advice(
            config, restart, f"the same pull fails for what the destination lacks; see {log}", f"rm {config}"
        )
        files.append(
            File(config, head(replace(site, lost=()), name, advice) + "disable-default-registry-endpoint: true\n")
        )
    return Written(tuple(files), tuple(lost))


def _mirrors(site: Site, found: list[Rewrite]) -> Iterator[str]:
    yield "mirrors:\n"
    for host in by_host([rule for one in found for rule in one.rules]):
        yield f"  {quoted(host)}:\n    endpoint:\n      - {quoted(site.registry.url)}\n"
        # What has the same name needs no rewrite. Expressions match anywhere in a name unless they are anchored.
        changed = [one for one in found if one.host == host and one.changes]
        if changed:
            yield "    rewrite:\n"
        for one in changed:
            yield f"      {quoted(f'^{one.expression}$')}: {quoted(one.replacement)}\n"


def _configs(site: Site, directory: str) -> str:
    """Return the settings of the destination; what is a secret is a comment, to be filled in."""
    registry = site.registry
    tls = f"      ca_file: {quoted(_ca(directory, site))}\n" if registry.ca else ""
    tls += "      insecure_skip_verify: true\n" if registry.skip_verify else ""
    if not (tls or registry.client_cert or registry.login):
        return ""
    mark = "" if tls else "# "
    text = f"{mark}configs:\n{mark}  {quoted(registry.host)}:\n"
    if tls or registry.client_cert:
        text += f"{mark}    tls:\n{tls}"
    if registry.client_cert:
        text += '#       cert_file: ""\n#       key_file: ""\n'
    if registry.login:
        text += '#     auth:\n#       username: ""\n#       password: ""\n'
    return text


def _ca(directory: str, site: Site) -> str:
    return f"{directory}/{site.slug}-ca.crt"
