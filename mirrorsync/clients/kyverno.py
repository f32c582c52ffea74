"""Kyverno: a MutatingPolicy that renames the images of new pods and of debugging containers; before, a ClusterPolicy.

The fields of the first are those of policies.kyverno.io/v1 (Kyverno 1.17), those of the second of kyverno.io/v1, which
1.20 is announced to refuse (kyverno/kyverno#17214). An image is matched as it is written, since Kyverno's own
`images.*.path` of `nginx` has no `library/`. CEL has no replacement with groups (kyverno/kyverno#15280), so that names
are cut in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mirrorsync.clients.expressions import Rewrite, literal, rewrites, without
from mirrorsync.clients.head import Advice, head, quoted, secrets_note
from mirrorsync.clients.model import BASENAME, REPOSITORY, File, Lost, Site, Written

_HUB: Final = "docker.io"
_LIBRARY: Final = "library/"
_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
# A tag and a digest, each of which may be missing. A port is no tag: it is before a slash.
_REF: Final = "(?::[^@/]*)?(?:@.*)?"
# What stands for any character in an expression ends before the tag and the digest.
_TOKEN: Final = re.compile(r"\[\]\]|\[[^\]]*\]|[.]")
_SHORTER: Final = {".": "[^:@]", "[^": "[^:@"}
_FIELD: Final = re.compile(r"(\{repository\}|\{basename\})")
_ITSELF: Final = "it is at the same registry, and would be renamed again and again"


def kyverno(site: Site) -> Written:
    """Return the policies for Kyverno, of which one is used."""
    itself = [rule for rule in site.rules if rule.host == site.registry.host]
    found, lost = rewrites([rule for rule in site.rules if rule not in itself], ordered=True)
    lost = [*(Lost(rule, _ITSELF) for rule in itself), *lost]
    if not found:
        return Written(lost=tuple(lost))
    example, name, before = found[0].rules[0].example, f"{site.slug}.yaml", f"{site.slug}-before-1.17.yaml"
    return Written(
        (
            File(name, head(site, "kyverno", _advice(site, name, example), lost) + _mutating_policy(site, found)),
            File(before, head(site, "kyverno", _advice(site, before, example), lost) + _cluster_policy(site, found)),
        ),
        tuple(lost),
    )


def _advice(site: Site, file: str, example: str) -> Advice:
    old = "before" in file
    return Advice(
        "a cluster with Kyverno before 1.17; the other file is for other versions (1.20 is to refuse this one)"
        if old
        else "a cluster with Kyverno 1.17 or newer; the other file is for other versions",
        f"kubectl apply -f {file}; pods that run already keep their images",
        f"kubectl run try --image={example} --dry-run=server -o yaml | grep image:",
        f"kubectl delete {'clusterpolicy' if old else 'mutatingpolicy'} {site.slug}",
        (
            "images are renamed whether or not the destination has their tags: there is no fallback to the source",
            "nodes still need to trust the destination's certificate",
            "the images of static pods and of image volumes are not renamed",
            *secrets_note(site.registry, "as pull secrets of the pods"),
        ),
    )


# An image is the same in all three lists, so that it is renamed once. The first name that is not empty is taken. A
# container for debugging that a pod has already must not change.
_CEL: Final = """\
apiVersion: policies.kyverno.io/v1
kind: MutatingPolicy
metadata:
  name: {name}
spec:
  autogen:
    podControllers:
      controllers: []
  matchConstraints:
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [UPDATE]
        resources: [pods/ephemeralcontainers]
  variables:
    - name: images
      expression: |-
        (object.spec.containers
          + (has(object.spec.initContainers) ? object.spec.initContainers : [])
          + (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : []))
          .map(c, c.image)
    - name: parts
      expression: |-
        variables.images.map(i, {{"image": i, "ref": i.find("{ref}$")}})
          .map(p, {{"image": p.image, "ref": p.ref, "name": p.image.substring(0, size(p.image) - size(p.ref))}})
    - name: renamed
      expression: |-
        variables.parts.map(p, {{
          "image": p.image,
          "to": [
{names}
            p.image
          ].filter(to, to != "")[0]
        }})
    - name: before
      expression: |-
        oldObject != null && has(oldObject.spec.ephemeralContainers)
          ? oldObject.spec.ephemeralContainers.map(c, c.name) : []
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration:
        expression: |-
          Object{{spec: Object.spec{{
{lists}
          }}}}
"""
_CEL_LIST: Final = """\
            {list}: has(object.spec.{list})
              ? object.spec.{list}.filter(c, !(c.name in variables.before)).map(c, Object.spec.{list}{{
                  name: c.name, image: variables.renamed.filter(r, r.image == c.image)[0].to
                }}) : []"""


def _mutating_policy(site: Site, found: list[Rewrite]) -> str:
    names = "\n".join(f"            {_cel(site, one)}," for one in found)
    lists = ",\n".join(_CEL_LIST.format(list=name) for name in _LISTS)
    return _CEL.format(name=site.slug, ref=_REF, names=names, lists=lists)


def _cluster_policy(site: Site, found: list[Rewrite]) -> str:
    return _HEADER.format(name=site.slug) + "".join(_rule(site, number, one) for number, one in enumerate(found, 1))


def _cel(site: Site, rewrite: Rewrite) -> str:
    """Return what CEL makes of an image `p`: its new name, or "" if it is not one of these."""
    condition = f"p.image.matches({quoted(_image(rewrite.host, rewrite.expression))})"
    condition += "".join(f" && !p.image.matches({quoted(other)})" for other in _excluded(rewrite))
    # A namespace is never of Docker Hub, whose names may be written without a host.
    pieces = {
        REPOSITORY: f"p.name.substring({len(rewrite.host) + 1})",
        BASENAME: 'p.name.find("[^/]*$")',
    }
    name = site.registry.location(rewrite.target)
    made = " + ".join(pieces.get(piece) or quoted(piece) for piece in _FIELD.split(name) if piece)
    return f'{condition} ? {made} + p.ref : ""'


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
        return f"^{literal(host)}/{names}({_REF})$"
    if names.startswith(_LIBRARY):
        names = f"(?:{_LIBRARY})?{names.removeprefix(_LIBRARY)}"
    return f"^(?:(?:index[.])?docker[.]io/)?{names}({_REF})$"


def _excluded(rewrite: Rewrite) -> Iterator[str]:
    """Yield expressions for the images of a namespace that the destination leaves out."""
    for rule in rewrite.rules:
        for pattern in rule.namespace.exclude if rule.namespace is not None else ():
            yield _image(rewrite.host, without(pattern))
