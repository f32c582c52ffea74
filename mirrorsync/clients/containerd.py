"""containerd: a hosts.toml for each registry. Its keys are those of containerd's docs/hosts.md."""

from __future__ import annotations

from typing import Final

from mirrorsync.clients.bases import bases
from mirrorsync.clients.head import NO_PULL_SECRETS, Advice, head, quoted, secrets_note
from mirrorsync.clients.model import File, Site, Written, api_host

_CERTS: Final = "/etc/containerd/certs.d"
# The tables of config.toml in containerd 2 and in 1.x begin with these.
_PLUGIN: Final = '[plugins."io.containerd.cri.v1.images"'
_PLUGIN_1: Final = '[plugins."io.containerd.grpc.v1.cri"'


def containerd(site: Site) -> Written:
    """Return the files for containerd."""
    found, lost = bases(site.rules)
    files = [
        File(
            f"{_CERTS}/{host}/hosts.toml",
            head(site, "containerd", _advice(site, host), [one for one in lost if one.rule.host == host])
            + _table(site, host, paths),
        )
        for host, paths in found.items()
    ]
    if files and site.registry.ca:
        files.append(File(_ca(site), site.registry.ca))
    return Written(tuple(files), tuple(lost))


def _advice(site: Site, host: str) -> Advice:
    directory = f"{_CERTS}/{host}"
    example = next(rule.example for rule in site.rules if rule.host == host and rule.base is not None)
    return Advice(
        f"{directory}/hosts.toml",
        f'nothing, if the config_path of the registries in /etc/containerd/config.toml is "{_CERTS}"; otherwise set it '
        f"({_PLUGIN}.registry] in containerd 2, {_PLUGIN_1}.registry] in 1.x) and restart containerd",
        f"ctr images pull --hosts-dir {_CERTS} --http-dump {example}",
        f"rm {directory}/hosts.toml",
        secrets_note(
            site.registry,
            f"in config.toml, in the table {_PLUGIN}.registry.configs.{quoted(site.registry.host)}.auth] (of 1.x: "
            f"{_PLUGIN_1}...); {NO_PULL_SECRETS}",
        ),
    )


def _table(site: Site, host: str, paths: list[str]) -> str:
    """Return the tables of one registry. Without a fallback, the last path is in the place of the source, too.

    containerd 1.x rejects a file without a [host] ("invalid `host` tree"), and then asks the source.
    """
    ca = f"ca = {quoted(_ca(site))}\n" if site.registry.ca else ""
    # The URL is the root of the API: containerd adds no /v2 to it, and puts names behind it.
    settings = f'capabilities = ["pull", "resolve"]\noverride_path = true\n{ca}'
    settings += "skip_verify = true\n" if site.registry.skip_verify else ""
    if site.fallback:
        text = f"server = {quoted(f'https://{api_host(host)}')}\n"
    else:
        text = f"server = {quoted(site.registry.api(paths[-1]))}\n{settings}"
    return text + "".join(f"\n[host.{quoted(site.registry.api(path))}]\n{settings}" for path in paths)


def _ca(site: Site) -> str:
    return f"{_CERTS}/{site.registry.host}/ca.crt"
