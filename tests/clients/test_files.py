"""The files: of the form that the projects publish, with a head that says what to do, and exact in every word."""

from __future__ import annotations

import base64
import json
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from mirrorsync.clients.formats import NAMES, files_for
from tests.clients import sites
from tests.clients.oracles import cel_pod, documents
from tests.clients.schemas import SCHEMAS
from tests.clients.sites import ALL, CA, CORP, body, files, written

SETTINGS: list[dict[str, Any]] = [
    {},
    {"fallback": False, "plain_http": True},
    {"ca": CA, "login": True, "client_cert": True},
    {"skip_verify": True, "login": True},
]


def parsed(path: str, text: str) -> Iterator[tuple[str, Any]]:
    """Yield what a file has, each with the name of its schema."""
    if path.endswith((".crt", ".README")):
        return
    if path.endswith((".toml", ".conf")):
        found: list[Any] = [tomllib.loads(text)]
    else:
        found = [json.loads(text)] if path.endswith(".json") else list(documents(text))
    for one in found:
        (name,) = [key for key in SCHEMAS if key in path] or [one["kind"]]
        yield name, one


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_file_is_of_the_form_that_its_project_publishes(settings: dict[str, Any]) -> None:
    used = set()
    for client in NAMES:
        if client == "docker" and settings.get("fallback") is False:
            continue
        for path, text in files(client, sites.NAMES, CORP, **settings).items():
            for name, value in parsed(path, text):
                used.add(name)
                problems = [f"{one.json_path}: {one.message}" for one in _validator(name).iter_errors(value)]
                assert problems == [], path
    expected = set(SCHEMAS) - ({"config.yaml.d/"} if settings.get("fallback", True) else {"daemon.json"})
    tls = settings.get("ca") or settings.get("skip_verify")
    expected -= set() if tls else {"RegistryTLSConfig"}
    assert used == expected - (set() if settings.get("ca") else {"-ca.yaml"})


def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(SCHEMAS[name])


@pytest.mark.parametrize("client", NAMES)
def test_a_head_says_where_a_file_belongs_and_how_it_is_used_checked_and_undone(client: str) -> None:
    settings: dict[str, Any] = {} if client == "docker" else {"fallback": False}
    found = written(client, sites.NAMES, CORP, ca=CA, **settings)
    for file in found.files:
        if file.path.endswith((".crt", ".json")):
            assert "#" not in file.text
            continue
        mark = "" if file.path.endswith(".README") else "# "
        head = file.text.partition("\n\n")[0] if mark else file.text
        for word in ("belongs:", "apply:", "check:", "undo:"):
            assert f"\n{mark}{word}" in head, file.path
        assert f"{mark}Written by: mirrorsync client-config mirror.yaml --for {client} --destination corp" in head
        assert (" --no-fallback\n" in head) is bool(settings)
        assert max(map(len, head.splitlines())) <= 110
    whole = next(file.text for file in found.files if not file.path.endswith((".crt", ".json")))
    for one in found.lost:
        assert f"- {one.rule.source} (at {CORP}/{one.rule.target}): " in whole or client in ("containerd", "openshift")
    assert found.files == written(client, sites.NAMES, CORP, ca=CA, **settings).files


@pytest.mark.parametrize(
    ("client", "crictl"),
    [
        ("k3s", "k3s crictl pull "),
        ("rke2", "/rke2/bin/crictl --config /var/lib/rancher/rke2/agent/etc/crictl.yaml pull "),
    ],
)
def test_a_pull_is_tried_with_the_crictl_that_a_distribution_brings(client: str, crictl: str) -> None:
    assert crictl in " ".join(next(iter(files(client, TWO).values())).replace("#", " ").split())


def test_the_head_of_a_file_is_exact() -> None:
    (text,) = files(
        "podman", ["docker.io/library/alpine:3.20", {"from": "gcr.io/a/*", "tags": ALL, "name": "{basename}1"}]
    ).values()
    assert text.partition("\n\n")[0] == (
        f"# Pull from {CORP} what mirror.yaml mirrors there.\n"
        "# Written by: mirrorsync client-config mirror.yaml --for podman --destination corp\n"
        "#\n"
        "# belongs:   /etc/containers/registries.conf.d/50-mirrorsync-corp.conf\n"
        "# apply:     nothing: the next pull reads it. Without root, put it into\n"
        "#            ~/.config/containers/registries.conf.d\n"
        f"# check:     podman --log-level=debug pull docker.io/library/alpine:3.20 2>&1 | grep {CORP}\n"
        "# undo:      rm /etc/containers/registries.conf.d/50-mirrorsync-corp.conf\n"
        "#\n"
        "# podman cannot express these:\n"
        f"#   - gcr.io/a/* (at {CORP}/mirror/{{basename}}1): names are only replaced from their\n"
        "#     beginning, and the end of these differs too"
    )


TWO: list[Any] = [
    {"from": "docker.io/library/alpine:3.20", "name": "{host}/{repository}"},
    {"from": "quay.io/p/*", "tags": ALL},
]
EXACT = {
    "podman": """\
[[registry]]
prefix = "docker.io/library/alpine"
location = "docker.io/library/alpine"
blocked = true

[[registry.mirror]]
location = "corp.example:5000/mirror/docker.io/library/alpine"
insecure = true

[[registry]]
prefix = "quay.io/p"
location = "quay.io/p"
blocked = true

[[registry.mirror]]
location = "corp.example:5000/mirror/p"
insecure = true
""",
    "containerd": """\
server = "http://corp.example:5000/v2/mirror/docker.io"
capabilities = ["pull", "resolve"]
override_path = true

[host."http://corp.example:5000/v2/mirror/docker.io"]
capabilities = ["pull", "resolve"]
override_path = true
""",
    "k3s": """\
mirrors:
  "docker.io":
    endpoint:
      - "http://corp.example:5000"
    rewrite:
      "^library/alpine$": "mirror/docker.io/library/alpine"
  "quay.io":
    endpoint:
      - "http://corp.example:5000"
    rewrite:
      "^(p/.*)$": "mirror/$1"
""",
    "talos": """\
apiVersion: v1alpha1
kind: RegistryMirrorConfig
name: "docker.io"
endpoints:
  - url: "http://corp.example:5000/v2/mirror/docker.io"
    overridePath: true
skipFallback: true
---
apiVersion: v1alpha1
kind: RegistryMirrorConfig
name: "quay.io"
endpoints:
  - url: "http://corp.example:5000/v2/mirror"
    overridePath: true
skipFallback: true
""",
    "openshift": """\
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata:
  name: mirrorsync-corp
spec:
  imageDigestMirrors:
    - source: "docker.io/library/alpine"
      mirrors:
        - "corp.example:5000/mirror/docker.io/library/alpine"
      mirrorSourcePolicy: NeverContactSource
    - source: "quay.io/p"
      mirrors:
        - "corp.example:5000/mirror/p"
      mirrorSourcePolicy: NeverContactSource
""",
}


@pytest.mark.parametrize("client", EXACT)
def test_a_file_is_exact(client: str) -> None:
    found = written(client, TWO, fallback=False, plain_http=True)
    assert found.lost == ()
    assert body(found.files[0].text) == EXACT[client]


def test_the_source_is_the_server_of_containerd_if_it_may_be_asked() -> None:
    for host, server in (("docker.io", "registry-1.docker.io"), ("quay.io", "quay.io")):
        text = files("containerd", TWO)[f"/etc/containerd/certs.d/{host}/hosts.toml"]
        assert tomllib.loads(text)["server"] == f"https://{server}"


def test_a_ca_is_written_where_each_client_looks_for_it() -> None:
    pem = {client: files(client, TWO, CORP, ca=CA) for client in NAMES if client not in ("docker", "kyverno")}
    assert pem["podman"][f"/etc/containers/certs.d/{CORP}/ca.crt"] == CA
    path = f"/etc/containerd/certs.d/{CORP}/ca.crt"
    assert pem["containerd"][path] == CA
    assert f'ca = "{path}"' in pem["containerd"]["/etc/containerd/certs.d/quay.io/hosts.toml"]
    path = "/etc/rancher/k3s/mirrorsync-corp-ca.crt"
    assert pem["k3s"][path] == CA
    assert f'ca_file: "{path}"' in pem["k3s"]["/etc/rancher/k3s/registries.yaml"]
    document = documents(pem["talos"]["mirrorsync-corp.yaml"])[-1]
    assert (document["kind"], document["name"], document["ca"]) == ("RegistryTLSConfig", CORP, CA)
    (machine,) = documents(pem["talos"]["mirrorsync-corp-before-1.12.yaml"])
    tls = machine["machine"]["registries"]["config"][CORP]["tls"]
    assert base64.b64decode(tls["ca"]).decode() == CA
    (config,) = documents(pem["openshift"]["mirrorsync-corp-ca.yaml"])
    assert config["data"] == {"corp.example..5000": CA}
    docker = files("docker", ["docker.io/library/alpine:3.20"], CORP, ca=CA)
    assert docker[f"/etc/docker/certs.d/{CORP}/ca.crt"] == CA


def test_a_registry_without_a_valid_certificate_is_named_as_such() -> None:
    insecure: dict[str, Any] = {"skip_verify": True}
    (podman,) = files("podman", TWO, **insecure).values()
    assert podman.count("insecure = true") == 2
    assert "skip_verify = true" in files("containerd", TWO, **insecure)["/etc/containerd/certs.d/quay.io/hosts.toml"]
    assert "insecure_skip_verify: true" in body(files("k3s", TWO, **insecure)["/etc/rancher/k3s/registries.yaml"])
    assert all("insecureSkipVerify: true" in text for text in files("talos", TWO, **insecure).values())
    assert "insecureRegistries" in next(iter(files("openshift", TWO, **insecure).values()))
    docker = files("docker", ["docker.io/library/alpine:3.20"], CORP, plain_http=True)["/etc/docker/daemon.json"]
    assert json.loads(docker) == {"registry-mirrors": [f"http://{CORP}"], "insecure-registries": [CORP]}


def test_a_login_is_a_placeholder_that_has_no_effect_until_it_is_filled_in() -> None:
    path = "/etc/rancher/k3s/registries.yaml"
    plain, login = files("k3s", TWO)[path], files("k3s", TWO, login=True, client_cert=True)[path]
    assert documents(plain) == documents(login)
    begin = login.index("# configs:")
    (filled,) = documents("".join(f"{line[2:]}\n" for line in login[begin:].splitlines()))
    assert filled == {
        "configs": {
            CORP: {"tls": {"cert_file": "", "key_file": ""}, "auth": {"username": "", "password": ""}},
        }
    }
    for client in NAMES:
        text = "".join(files(client, ["docker.io/library/alpine:3.20"], CORP, login=True).values())
        assert f"{CORP} wants a login" in text
        # They are found by the name of an image, which only Kyverno changes (containerd#10996).
        assert ("as pull secrets" in text) == (client == "kyverno")
        assert ("pull secrets of pods are not used" in " ".join(text.replace("#", " ").split())) == (
            client in ("containerd", "crio", "k3s", "rke2", "talos")
        )


@pytest.mark.parametrize("client", NAMES)
def test_names_with_line_feeds_quotes_and_spaces_stay_in_their_comment(client: str) -> None:
    site = replace(
        sites.site(["docker.io/library/alpine:3.20"], CORP),
        spec="a 'b\nevil: yes",
        destination="c d\n#",
        address="h\nx",
    )
    for file in files_for(client, site).files:
        assert "\nevil" not in file.text
        if file.text.startswith("#"):
            words = shlex.split(file.text.splitlines()[1].removeprefix("# Written by: "))
            assert words[2:] == [r"a 'b\nevil: yes", "--for", client, "--destination", r"c d\n#", "--address", r"h\nx"]


def test_quotes_in_a_pattern_are_escaped_for_kyverno() -> None:
    mirror = {"from": "quay.io/a/*", "tags": {"all": True}, "name": "{repository}", "exclude_repositories": ["b'\"*"]}
    text, old = files("kyverno", [mirror]).values()
    assert cel_pod(text, {"containers": ["quay.io/a/b'\"c", "quay.io/a/c"]})["containers"] == [
        "quay.io/a/b'\"c",
        f"{CORP}/mirror/a/c",
    ]
    (policy,) = documents(old)
    conditions = policy["spec"]["rules"][0]["mutate"]["foreach"][0]["preconditions"]["all"]
    assert """(?:b\\'"[^:@]*|""" in conditions[1]["key"]
