"""podman, CRI-O, buildah and skopeo: a drop-in for registries.conf, which renames any repository.

Its keys are those of containers-registries.conf(5), version 2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Final

from mirrorsync.clients.head import NO_PULL_SECRETS, Advice, head, quoted, secrets_note
from mirrorsync.clients.model import File, Lost, Rule, Site, Written

_CONF: Final = "/etc/containers/registries.conf.d"
_CERTS: Final = "/etc/containers/certs.d"


def podman(site: Site) -> Written:
    """Return the files for podman, buildah and skopeo."""
    advice = _advice(
        site,
        apply="nothing: the next pull reads it. Without root, put it into ~/.config/containers/registries.conf.d",
        check=f"podman --log-level=debug pull {_example(site)} 2>&1 | grep {site.registry.host}",
        login=f"podman login {site.registry.host}",
    )
    return _written(site, "podman", advice)


def crio(site: Site) -> Written:
    """Return the files for CRI-O."""
    advice = _advice(
        site,
        apply="systemctl reload crio, on every node",
        check=f"crictl pull {_example(site)}, and journalctl -u crio names the destination if its log_level is debug",
        login=f"in the file that global_auth_file in crio.conf names; {NO_PULL_SECRETS}",
    )
    return _written(site, "crio", advice)


def prefixes(site: Site) -> tuple[dict[str, list[str]], list[Lost], list[str]]:
    """Return the locations at the destination of every prefix of names, the rules without one, and notes.

    A client looks only at the longest prefix of a name, so that a repository has those of its folders, too.
    """
    known: list[tuple[str, str, Rule]] = []
    lost, notes = [], []
    for rule in site.rules:
        folders = rule.folders
        if folders is None:
            reason = "names are only replaced from their beginning, and the end of these differs too"
            lost.append(Lost(rule, reason))
            continue
        known.append((posixpath.join(rule.host, folders[0]).rstrip("/"), folders[1], rule))
        if rule.is_shallow:
            notes.append(
                f"of {rule.source}, only repositories directly in {posixpath.dirname(rule.source)} are found at the "
                "mirror: the folders of others are left out there, and only the beginning of a name is replaced"
            )
    found = {
        prefix: [site.registry.location(at) for at in dict.fromkeys(_locations(prefix, owner, known))]
        for prefix, _, owner in sorted(known, key=lambda one: one[0])
    }
    return found, lost, notes


def _locations(prefix: str, owner: Rule, known: list[tuple[str, str, Rule]]) -> Iterator[str]:
    """Yield where the names behind a prefix are at the destination, the closest first."""
    for other, at, rule in sorted(known, key=lambda one: -len(one[0])):
        if other == prefix:
            yield at
        elif prefix.startswith(f"{other}/") and (owner.namespace is not None or rule.has(owner.name)):
            yield (at + prefix[len(other) :]).lstrip("/")


def _example(site: Site) -> str:
    return site.rules[0].example


def _advice(site: Site, *, apply: str, check: str, login: str) -> Callable[[list[str]], Advice]:
    path = f"{_CONF}/50-{site.slug}.conf"
    return lambda notes: Advice(path, apply, check, f"rm {path}", (*notes, *secrets_note(site.registry, login)))


def _written(site: Site, client: str, advice: Callable[[list[str]], Advice]) -> Written:
    found, lost, notes = prefixes(site)
    if not found:
        return Written(lost=tuple(lost))
    text = head(site, client, advice(notes), lost) + "\n".join(_tables(site, found))
    files = [File(f"{_CONF}/50-{site.slug}.conf", text)]
    if site.registry.ca:
        files.append(File(f"{_CERTS}/{site.registry.host}/ca.crt", site.registry.ca))
    return Written(tuple(files), tuple(lost), tuple(notes))


def _tables(site: Site, found: dict[str, list[str]]) -> Iterator[str]:
    for prefix, locations in found.items():
        # A blocked source is not asked; its mirrors are (containers/image, and what OpenShift writes for
        # NeverContactSource).
        text = f"[[registry]]\nprefix = {quoted(prefix)}\nlocation = {quoted(prefix)}\n"
        text += "" if site.fallback else "blocked = true\n"
        for location in locations:
            text += f"\n[[registry.mirror]]\nlocation = {quoted(location)}\n"
            text += "insecure = true\n" if site.registry.insecure else ""
        yield text
