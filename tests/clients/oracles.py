"""What the clients ask a mirror for, by their own documents: written from these, and without the product's code.

Each takes the files that it was given, and an image's registry and repository; it returns the locations (host and
repository) that are asked in their order, with the source itself at the end if it is asked too.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import cel
import re2
import yaml

Files = Mapping[str, str]


@cache
def documents(text: str) -> tuple[Any, ...]:
    """Return the documents of a YAML file."""
    return tuple(yaml.load_all(text, yaml.CSafeLoader))


def parsed(text: str) -> Any:
    """Return the only document of a YAML file."""
    (found,) = documents(text)
    return found


def containers(files: Files, host: str, repository: str) -> list[str]:
    """containers-registries.conf(5): the longest prefix, its mirrors, and the location, unless it is blocked."""
    (text,) = (text for path, text in files.items() if path.startswith("/etc/containers/registries.conf.d/"))
    image = f"{host}/{repository}"
    matching = [
        one
        for one in tomllib.loads(text)["registry"]
        if image == one["prefix"] or image.startswith(one["prefix"] + "/")
    ]
    if not matching:
        return [image]
    found = max(matching, key=lambda one: len(one["prefix"]))
    rest = image[len(found["prefix"]) :]
    asked = [one["location"] + rest for one in found.get("mirror", ())]
    return asked if found.get("blocked") else [*asked, found["location"] + rest]


def containerd(files: Files, host: str, repository: str) -> list[str]:
    """docs/hosts.md of containerd: each host, then the server; with override_path the URL is all of the API.

    containerd 1.x rejects a file without hosts (tests/clients/test_containerd.py).
    """
    text = files.get(f"/etc/containerd/certs.d/{host}/hosts.toml")
    if text is None:
        return [f"{host}/{repository}"]
    config = tomllib.loads(text)
    servers = [*config.pop("host").items(), (config.pop("server"), config)]
    asked = [_by_api(url, repository, whole=one.get("override_path", False)) for url, one in servers]
    return list(dict.fromkeys(asked))  # the last host is the server, too, if the source may not be asked


def docker(files: Files, host: str, repository: str) -> list[str]:
    """dockerd: mirrors of Docker Hub, by their root, then Docker Hub."""
    mirrors = json.loads(files["/etc/docker/daemon.json"])["registry-mirrors"] if host == "docker.io" else []
    for url in mirrors:
        assert re.fullmatch(r"https?://[^/]+/?", url), "dockerd refuses a path"
    return [*(_by_api(url, repository) for url in mirrors), f"{host}/{repository}"]


def k3s(files: Files, host: str, repository: str) -> list[str]:
    """docs.k3s.io: endpoints with rewrites, then the default endpoint without; the order of rewrites is not kept."""
    config = parsed(next(text for path, text in files.items() if path.endswith("/registries.yaml")))
    mirror = config["mirrors"].get(host, {"endpoint": []})
    results = {_rewritten(rules, repository) for rules in _orders(mirror.get("rewrite", {}))}
    assert len(results) == 1, f"{repository} depends on the order: {results}"
    blocked = any("disable-default-registry-endpoint: true" in text for text in files.values())
    asked = [_by_api(url, results.pop()) for url in mirror["endpoint"]]
    return asked if blocked and mirror["endpoint"] else [*asked, f"{host}/{repository}"]


def _orders(rewrites: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    rules = list(rewrites.items())
    return [list(one) for one in itertools.permutations(rules)] if len(rules) < 5 else [rules, rules[::-1]]


def _rewritten(rules: list[tuple[str, str]], repository: str) -> str:
    for expression, replacement in rules:
        made = go_replaced(expression, repository, replacement)
        if made != repository:
            return made
    return repository


def talos_documents(files: Files, host: str, repository: str) -> list[str]:
    """RegistryMirrorConfig of Talos 1.12."""
    text = next(text for path, text in files.items() if "before" not in path)
    for document in documents(text):
        if document["kind"] == "RegistryMirrorConfig" and document["name"] == host:
            asked = [_by_api(one["url"], repository, whole=one.get("overridePath")) for one in document["endpoints"]]
            return asked if document.get("skipFallback") else [*asked, f"{host}/{repository}"]
    return [f"{host}/{repository}"]


def talos_machine(files: Files, host: str, repository: str) -> list[str]:
    """machine.registries.mirrors of Talos before 1.12."""
    text = next(text for path, text in files.items() if "before" in path)
    mirror = parsed(text)["machine"]["registries"]["mirrors"].get(host, {"endpoints": []})
    asked = [_by_api(url, repository, whole=mirror.get("overridePath")) for url in mirror["endpoints"]]
    return asked if mirror.get("skipFallback") else [*asked, f"{host}/{repository}"]


def openshift(files: Files, host: str, repository: str) -> list[str]:
    """ImageDigestMirrorSet and ImageTagMirrorSet: only the most specific source is used; both say the same here."""
    sets = [parsed(text) for path, text in files.items() if "mirrorset" in path]
    found = {json.dumps(_of_set(one["spec"], f"{host}/{repository}")) for one in sets}
    assert len(sets) == 2
    assert len(found) == 1
    asked: list[str] = json.loads(found.pop())
    return asked


def _of_set(spec: Mapping[str, Any], image: str) -> list[str]:
    entries = next(iter(spec.values()))
    matching = [one for one in entries if image == one["source"] or image.startswith(one["source"] + "/")]
    if not matching:
        return [image]
    found = max(matching, key=lambda one: len(one["source"]))
    asked = [mirror + image[len(found["source"]) :] for mirror in found["mirrors"]]
    return asked if found["mirrorSourcePolicy"] == "NeverContactSource" else [*asked, image]


def kyverno_cel(files: Files, host: str, repository: str) -> list[str]:
    """Kyverno from 1.17: the image that a new pod gets."""
    text = next(text for path, text in files.items() if "before" not in path)
    return [cel_pod(text, {"containers": [f"{host}/{repository}:1"]})["containers"][0].removesuffix(":1")]


def cel_pod(text: str, pod: Mapping[str, list[str]], before: Mapping[str, list[str]] | None = None) -> Any:
    """Return the images of a pod after a MutatingPolicy, by their list. before: of the pod that is updated."""
    spec = parsed(text)["spec"]
    context = cel.Context()
    context.add_function("find", lambda text, expression: (re2.search(expression, text) or [""])[0])
    context.add_function("matches", lambda text, expression: re2.search(expression, text) is not None)
    context.add_function("substring", lambda text, *ends: text[slice(*ends, *[None] * (2 - len(ends)))])
    context.add_variable("object", _pod(pod))
    context.add_variable("oldObject", None if before is None else _pod(before))
    variables: dict[str, Any] = {}
    for one in spec["variables"]:
        context.add_variable("variables", variables)
        variables[one["name"]] = cel.evaluate(one["expression"], context)
    context.add_variable("variables", variables)
    (mutation,) = spec["mutations"]
    # The types of Kubernetes (`Object.spec{name: ...}`) are maps here.
    expression = re.sub(r"Object[.\w]*\{", "{", mutation["applyConfiguration"]["expression"])
    made = cel.evaluate(re.sub(r"(\w+): ", r'"\1": ', expression), context)["spec"]
    changed = {name: {one["name"]: one["image"] for one in containers} for name, containers in made.items()}
    return {name: [changed[name].get(image, image) for image in images] for name, images in pod.items()}


def _pod(pod: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a pod whose containers have the names of their images."""
    return {"spec": {name: [{"name": image, "image": image} for image in images] for name, images in pod.items()}}


def kyverno(files: Files, host: str, repository: str) -> list[str]:
    """Kyverno before 1.17: the image that each list of containers of a new pod gets; they are all the same."""
    text = next(text for path, text in files.items() if "before" in path)
    found = {kyverno_image(text, f"{host}/{repository}:1", name) for name in ("containers", "initContainers")}
    assert len(found) == 1
    return [found.pop().removesuffix(":1")]


def kyverno_image(text: str, image: str, containers: str = "containers") -> str:
    """Return what a ClusterPolicy makes of an image in one list of containers."""
    for rule in parsed(text)["spec"]["rules"]:
        for each in rule["mutate"]["foreach"]:
            if each["list"] != f"request.object.spec.{containers} || `[]`":
                continue
            conditions = each["preconditions"]["all"]
            if all(_matches(one["key"], image) is one["value"] for one in conditions):
                (patch,) = parsed(each["patchesJson6902"])
                assert patch["path"] == f"/spec/{containers}/{{{{elementIndex}}}}/image"
                words = re.fullmatch(r"\{\{ regex_replace_all\('(.*)', element\.image, '(.*)'\) \}\}", patch["value"])
                assert words is not None
                image = go_replaced(words[1], image, words[2])
    return image


def _matches(key: str, image: str) -> bool:
    words = re.fullmatch(r"\{\{ regex_match\('(.*)', element\.image\) \}\}", key)
    assert words is not None
    return re2.search(words[1], image) is not None


def go_replaced(expression: str, text: str, replacement: str) -> str:
    """Return what Go's regexp.ReplaceAllString makes, of an expression that is anchored: `$1a` is a group named 1a."""
    assert expression.startswith("^")
    assert expression.endswith("$")
    found = re2.search(expression, text)
    if found is None:
        return text

    def filled(name: re.Match[str]) -> str:
        group = name[1] or name[2]
        return str(found[int(group)] or "") if group.isdigit() else ""

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", filled, replacement)


def _by_api(url: str, repository: str, *, whole: bool | None = False) -> str:
    """Return the location that a client asks below a URL. whole: the URL is that of the API, with its /v2."""
    scheme, _, rest = url.partition("://")
    assert scheme in ("http", "https")
    host, _, path = rest.partition("/")
    if whole:
        assert path == "v2" or path.startswith("v2/")
        path = path.removeprefix("v2").removeprefix("/")
    else:
        assert not path
    host = "docker.io" if host == "registry-1.docker.io" else host
    return "/".join(part for part in (host, path, repository) if part)


ORACLES: Mapping[str, tuple[Callable[[Files, str, str], list[str]], ...]] = {
    "podman": (containers,),
    "crio": (containers,),
    "containerd": (containerd,),
    "docker": (docker,),
    "k3s": (k3s,),
    "rke2": (k3s,),
    "talos": (talos_documents, talos_machine),
    "openshift": (openshift,),
    "kyverno": (kyverno_cel, kyverno),
}
