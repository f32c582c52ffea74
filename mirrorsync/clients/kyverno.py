"""Kyverno: a ClusterPolicy that rewrites the images of new pods, and of containers for debugging.

The fields are those of kyverno.io/v1 (kyverno/kyverno, config/crds), the functions those of its JMESPath. An image is
matched as it is written, since Kyverno's own `images.*.path` of `nginx` has no `library/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mirrorsync.clients.expressions import Rewrite, literal, rewrites, without
from mirrorsync.clients.head import Advice, head, quoted, secrets_note
from mirrorsync.clients.model import File, Lost, Site, Written

_HUB: Final = "docker.io"
_LIBRARY: Final = "library/"
_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
# A tag and a digest, each of which may be missing. A port is no tag: it is before a slash.
_REF: Final = "((?::[^@/]*)?(?:@.*)?)"
# What stands for any character in an expression ends before the tag and the digest.
_TOKEN: Final = re.compile(r"\[\]\]|\[[^\]]*\]|[.]")
_SHORTER: Final = {".": "[^:@]", "[^": "[^:@"}
_ITSELF: Final = "it is at the same registry, and would be renamed again and again"


def kyverno(site: Site) -> Written:
    """Return the policy for Kyverno."""
    itself = [rule for rule in site.rules if rule.host == site.registry.host]
    found, lost = rewrites([rule for rule in site.rules if rule not in itself], ordered=True)
    lost = [*(Lost(rule, _ITSELF) for rule in itself), *lost]
    if not found:
        return Written(lost=tuple(lost))
    file = f"{site.slug}.yaml"
    advice = Advice(
        "the cluster",
        f"kubectl apply -f {file}; pods that run already keep their images",
        f"kubectl run try --image={found[0].rules[0].example} --dry-run=server -o yaml | grep image:",
        f"kubectl delete clusterpolicy {site.slug}",
        (
            "images are renamed whether or not the destination has their tags: there is no fallback to the source",
            "nodes still need to trust the destination's certificate, and images of static pods are not renamed",
            *secrets_note(site.registry, "as pull secrets of the pods"),
        ),
    )
    text = head(site, "kyverno", advice, lost) + _HEADER.format(name=site.slug)
    text += "".join(_rule(site, number, one) for number, one in enumerate(found, 1))
    return Written((File(file, text),), tuple(lost))


_HEADER: Final = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: {name}
  annotations:
    pod-policies.kyverno.io/autogen-controllers: none
spec:
  background: false
  rules:
"""
# Only new pods: a changed image of a pod that runs restarts its container. A rule sees what those before it made.
_MATCH: Final = """\
    - name: {name}
      match:
        any:
          - resources:
              kinds: [Pod]
              operations: [CREATE]
          - resources:
              kinds: [Pod/ephemeralcontainers]
              operations: [UPDATE]
      mutate:
        foreach:
"""
_FOREACH: Final = """\
          - list: request.object.spec.{list} || `[]`
            preconditions:
              all:
"""
_CONDITION: Final = """\
                - key: {key}
                  operator: Equals
                  value: {value}
"""
_PATCH: Final = """\
            patchesJson6902: |-
              - op: replace
                path: /spec/{list}/{{{{elementIndex}}}}/image
                value: {value}
"""


def _rule(site: Site, number: int, rewrite: Rewrite) -> str:
    expression = _image(rewrite.host, rewrite.expression)
    replacement = f"{site.registry.location(rewrite.replacement)}${{{rewrite.groups + 1}}}"
    text = _MATCH.format(name=f"rewrite-{number}")
    for name in _LISTS:
        text += _FOREACH.format(list=name) + _CONDITION.format(key=_matching(expression), value="true")
        for other in _excluded(rewrite):
            text += _CONDITION.format(key=_matching(other), value="false")
        replaced = f"regex_replace_all({_raw(expression)}, element.image, {_raw(replacement)})"
        text += _PATCH.format(list=name, value=quoted(f"{{{{ {replaced} }}}}"))
    return text


def _matching(expression: str) -> str:
    return quoted(f"{{{{ regex_match({_raw(expression)}, element.image) }}}}")


def _raw(text: str) -> str:
    """Return a text as a raw string of JMESPath: patterns on names may have quotes, which no name has."""
    return "'" + text.replace("'", "\\'") + "'"


def _image(host: str, expression: str) -> str:
    """Return the expression for whole images; of Docker Hub's, the host and `library/` may be missing."""
    names = _TOKEN.sub(lambda found: _SHORTER.get(found[0][:2], found[0][:2]) + found[0][2:], expression)
    if host != _HUB:
        return f"^{literal(host)}/{names}{_REF}$"
    if names.startswith(_LIBRARY):
        names = f"(?:{_LIBRARY})?{names.removeprefix(_LIBRARY)}"
    return f"^(?:(?:index[.])?docker[.]io/)?{names}{_REF}$"


def _excluded(rewrite: Rewrite) -> Iterator[str]:
    """Yield expressions for the images of a namespace that the destination leaves out."""
    for rule in rewrite.rules:
        for pattern in rule.namespace.exclude if rule.namespace is not None else ():
            yield _image(rewrite.host, without(pattern))
