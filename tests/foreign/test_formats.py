"""What is read of every format: images, settings, and a note for what has no equal."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml

from mirrorsync.errors import UsageError
from mirrorsync.foreign.formats import NAMES, read_foreign
from mirrorsync.foreign.write import spec_text
from mirrorsync.spec.load import load
from tests.foreign.samples import PASSWORD, SAMPLES, A, B


class Anything(dict[str, str]):
    """Variables that are all set."""

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: str) -> str:
        return "robot.example"


def made(text: str, form: str = "", to: str = "") -> str:
    """Return the spec that is made from a text, and check that it is valid."""
    draft, _ = read_foreign(text.encode(), "sample", form)
    spec = spec_text(draft, ["sample"], to)
    load(spec.encode(), source="mirror.yaml", environment=Anything(), base="/")
    return spec


def mirrors(text: str, form: str = "") -> Any:
    return yaml.safe_load(made(text, form))["mirrors"]


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(NAMES)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "image-syncer-auth"])
@pytest.mark.parametrize("form", ["recognised", "named"])
@pytest.mark.parametrize("to", ["", "oci:disk", "harbor.example.com/mirror"])
def test_what_is_written_is_valid_and_without_passwords(name: str, form: str, to: str) -> None:
    spec = made(SAMPLES[name], name if form == "named" else "", to)
    assert PASSWORD not in spec
    destinations = yaml.safe_load(spec)["destinations"]
    assert not to or list(destinations.values()) == [to]


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_recognised_by_its_content(name: str) -> None:
    if name == "image-syncer-auth":
        assert read_foreign(SAMPLES[name].encode(), "x")[1] == ("image-syncer logins",)
    else:
        assert read_foreign(SAMPLES[name].encode(), "x")[1] == read_foreign(SAMPLES[name].encode(), "x", name)[1]


EXPECTED: dict[str, list[Any]] = {
    "list": [
        {"from": "docker.io/library/nginx", "tags": ["1.27", "1.26"]},
        {"from": "quay.io/x/y", "tags": [f"2@{A}"]},
        {"from": "quay.io/coreos/etcd", "tags": ["v3.5.9"], "name": "rancher/mirrored-etcd"},
    ],
    "skopeo": [
        {"from": "registry.example.com/busybox", "tags": {"all": True}},
        {"from": "registry.example.com/redis", "tags": ["1.0", "2.0", A]},
        {"from": "registry.example.com/nginx", "tags": {"regex": r"1\.13\.[12]-alpine"}},
        {"from": "registry.example.com/app", "tags": {"regex": ".*(?:-alpine).*"}},
        {"from": "registry.example.com/alpine", "tags": {"semver": ">= 3.12.0"}},
        {"from": "quay.io/coreos/etcd", "tags": ["latest"]},
    ],
    "regsync": [
        {
            "from": "docker.io/library/busybox:latest",
            "tag": "stable",
            "to": "registry-5000",
            "name": "library/busybox",
            "referrers": True,
        },
        {
            "from": "docker.io/library/alpine",
            "tags": {"regex": r"(?:3)|(?:3\.\d+)", "exclude_regex": [r"3\.1"]},
            "to": "registry-5000",
            "name": "library/alpine",
            "platforms": ["linux/amd64", "linux/arm64"],
            "referrers": True,
        },
        {
            "from": "docker.io/library/debian",
            "tags": {"semver": ">=12 <13 || >=14", "keep": [".*-slim"]},
            "to": "registry-5000",
            "name": "library/debian",
        },
    ],
    "dregsy": [
        {
            "from": "source.example.com/test/image",
            "tags": ["latest"],
            "to": "dest-example-com",
            "name": "archive/image",
        },
        {
            "from": "source.example.com/test/image",
            "tags": {
                "semver": ">=1.31.0 <2",
                "regex": r"(?:1\.26\.[0-9])|(?:1\.27)",
                "keep": [".+-alpine"],
                "exclude_regex": [".*rc.*"],
                "newest": 5,
            },
            "to": "dest-example-com",
            "name": "archive/image",
        },
        {
            "from": "source.example.com/test/other",
            "tags": {"all": True},
            "to": "dest-example-com",
            "name": "test/other",
            "platforms": ["linux/arm64"],
        },
        {
            "from": "source.example.com/test/third",
            "tags": [f"1.0@{A}"],
            "to": "other-example-com",
            "name": "test/third",
        },
    ],
    "image-syncer": [
        {"from": "quay.io/a/proxy", "tags": {"all": True}, "to": "registry-example-com", "name": "b/proxy"},
        {"from": "quay.io/a/app", "tags": ["v1.0", "v2.0"], "to": "registry-example-com", "name": "b/app"},
        {"from": "quay.io/a/app", "tags": ["v1.0", "v2.0"], "to": "other-example-com", "name": "app"},
        {"from": "quay.io/a/two:v1", "tag": "one", "to": "registry-example-com", "name": "b/two"},
        {"from": "quay.io/a/two:v2", "tag": "two", "to": "registry-example-com", "name": "b/two"},
        {"from": "quay.io/a/pinned", "tags": [A], "to": "registry-example-com", "name": "b/pinned"},
        {"from": "quay.io/a/web", "tags": {"regex": r"v1\.[0-9]+"}, "to": "registry-example-com", "name": "b/web"},
    ],
    "hauler": [
        {
            "from": "registry.example.com/team/busybox",
            "tags": ["stable"],
            "platforms": ["linux/amd64"],
            "referrers": True,
        },
        {"from": "ghcr.io/a/b", "tags": [A], "platforms": ["linux/arm64"]},
        {"from": "ghcr.io/a/c:1", "tag": "one", "name": "mirror/c", "platforms": ["linux/amd64"], "referrers": True},
        {"from": "docker-daemon:app:dev"},
    ],
    "zarf": [
        {"from": "ghcr.io/a/b", "tags": ["1"]},
        {"from": "docker-daemon:app:dev"},
        {"from": "ghcr.io/a/c", "tags": ["2"]},
    ],
    "oc-mirror": [
        {"from": "registry.redhat.io/ubi9/ubi", "tags": ["latest"]},
        {"from": "quay.io/a/b:1", "tag": "one", "name": "mine/b", "platforms": ["linux/arm64"]},
    ],
    "imgpkg": [
        {"from": "docker.io/library/nginx", "tags": [f"1.27@{A}"]},
        {"from": "quay.io/x/y", "tags": [B]},
        {"from": "ghcr.io/a/bundle", "tags": [f"v1@{A}"]},
    ],
    "kpromo": [{"from": "source.example.com/cosign", "tags": [f"v2.0.2@{A}", f"v2@{A}", B]}],
    "kubernetes": [
        {"from": "docker.io/library/busybox", "tags": ["1.36"]},
        {"from": "docker.io/library/nginx", "tags": ["1.27"]},
        {"from": "quay.io/x/reloader", "tags": ["v1"]},
        {"from": "ghcr.io/a/sidecar", "tags": [A]},
        {"from": "docker.io/library/alpine", "tags": ["latest"]},
        {"from": "quay.io/a/db", "tags": ["9.20"]},
        {"from": "quay.io/a/base", "tags": ["1"]},
    ],
    "values": [
        {"from": "registry.k8s.io/ingress", "tags": ["1.20"]},
        {"from": "quay.io/a/b", "tags": [A]},
        {"from": "docker.io/a/helper", "tags": ["2"]},
    ],
    "compose": [
        {"from": "docker.io/library/postgres", "tags": ["16"], "platforms": ["linux/arm64"]},
        {"from": "docker.io/library/traefik", "tags": ["latest"]},
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_images_of_a_format_become_mirrors(name: str) -> None:
    assert mirrors(SAMPLES[name]) == EXPECTED[name]


NOTES: dict[str, tuple[str, ...]] = {
    "list": ("line 9 is not an image", "line 10 is not an image: this is a URL"),
    "skopeo": ("--scoped", "also allows http"),
    "regsync": (
        "schedule has no equal here: 15 3 * * *",
        "backup has no equal here: old-{{.Ref.Tag}}",
        "regsync's regcert has no equal",
        "type: registry copies all repositories of quay.io",
    ),
    "dregsy": (
        "relay has no equal here: skopeo",
        "task one: dregsy's interval",
        "from: regex:test/.*",
        "keep: latest also keeps",
    ),
    "image-syncer": ("has 2 tags and its target 1",),
    "hauler": ("chart is not an image: rancher https://charts.example.com 2.8.5", "key has no equal here: cosign.pub"),
    "zarf": (
        "###ZARF_PKG_TMPL_TAG###: it has a template",
        "in the archive images.tar",
        "Zarf's charts",
        "has conditions",
    ),
    "oc-mirror": (
        "archiveSize has no equal here: 4",
        "platform: only oc-mirror",
        "operators: only",
        "oci:///home",
        ".*alpine.*",
        "blocked:1 is in",
    ),
    "imgpkg": (".imgpkg/images.yml",),
    "kpromo": ("registries in another file",),
    "kubernetes": ("in SIDECAR_IMAGE of Deployment web", "alpine has no tag: latest", "in args of Deployment web"),
    "values": ("ghcr.io/a/main has no tag: its chart's appVersion", "in helperImage"),
    "compose": ("shop/web:dev is built", "redis:${REDIS_TAG}: it has a template", "with the defaults of its variables"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_has_no_equal_is_a_comment(name: str) -> None:
    comments = [line.strip() for line in made(SAMPLES[name]).splitlines() if line.strip().startswith("#")]
    for note in NOTES[name]:
        assert any(note in comment for comment in comments), (note, comments)


def test_settings_and_logins_are_taken_over_with_variables_for_passwords() -> None:
    def registries(name: str) -> Any:
        text = SAMPLES[name] + ("quay.io/a/b:1: x.example/b\n" if name.endswith("auth") else "")
        return yaml.safe_load(made(text))["registries"]

    assert registries("skopeo") == {
        "registry.example.com": {
            "username": "john",
            "password": "${REGISTRY_EXAMPLE_COM_PASSWORD}",
            "cert_dir": "/etc/certs",
            "insecure_skip_verify": True,
        }
    }
    assert registries("regsync") == {
        "registry:5000": {"plain_http": True, "max_connections": 3},
        "docker.io": {"username": "${HUB_USER}", "password": "${DOCKER_IO_PASSWORD}"},
    }
    assert registries("dregsy") == {
        "source.example.com": {"username": "alex", "password": "${SOURCE_EXAMPLE_COM_PASSWORD}"},
        "dest.example.com": {
            "username": "${DEST_EXAMPLE_COM_USERNAME}",
            "password": "${DEST_EXAMPLE_COM_PASSWORD}",
            "insecure_skip_verify": True,
        },
    }


def test_repositories_of_the_same_name_get_their_host_into_the_name() -> None:
    both = made("quay.io/a/b:1\nghcr.io/a/b:1\n")
    assert yaml.safe_load(both)["defaults"]["name"] == "{host}/{repository}"
    assert yaml.safe_load(made("quay.io/a/b:1\nghcr.io/a/c:1\n"))["defaults"]["name"] == "{repository}"


def test_two_digests_of_one_tag_are_one_image_and_a_comment() -> None:
    text = made(f"nginx:1\nnginx:1@{A}\nnginx:1@{B}\n")
    assert yaml.safe_load(text)["mirrors"] == [{"from": "docker.io/library/nginx", "tags": [f"1@{A}"]}]
    assert f"# 1 is wanted with another digest, too: 1@{B}" in text


def test_an_image_that_the_spec_does_not_allow_is_a_comment() -> None:
    text = made("quay.io/a/one mirror/x 1\nquay.io/a/two mirror/x 1\n")
    assert yaml.safe_load(text)["mirrors"] == [{"from": "quay.io/a/one", "tags": ["1"], "name": "mirror/x"}]
    assert "# " in text
    assert "not taken over: quay.io/a/two 1:" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("hello: world\n", "it has no images"),
        ("<html>\n<body>\n", "is not an image"),
        ("image: {{ .Values.image }}\nx: {{ y }}\n", "it has no images"),
        ("a: [1\n", "as YAML: line"),
        ("services: {web: {build: .}}\n", "no image was found: service web: the image is built"),
    ],
)
def test_a_file_of_no_known_format_is_refused_with_what_was_tried(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        made(text)
    assert message in refused.value.message
    assert any(word in refused.value.remedy for word in ("tried: hauler manifest", "helm template", "right file"))


def test_a_named_format_that_the_file_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a regsync spec"):
        made(SAMPLES["skopeo"], "regsync")
    assert mirrors("a/b:1\n", "list") == [{"from": "docker.io/a/b", "tags": ["1"]}]


def test_environment_templates_of_regsync_become_variables() -> None:
    text = """
sync:
  - {source: '{{env "SRC"}}/alpine', target: '{{env "DST"}}/library/alpine', type: repository, tags: {allow: ["3"]}}
  - {source: '{{env "SRC"}}/a:1', target: '{{env "DST"}}/b:2', type: image}
  - {source: '{{ .Whatever }}/a:1', target: 'x.example/b:2', type: image}
"""
    spec = made(text)
    assert yaml.safe_load(spec)["destinations"] == {"dst": "${DST}"}
    assert yaml.safe_load(spec)["mirrors"] == [
        {"from": "${SRC}/alpine", "tags": {"regex": "3"}, "to": "dst", "name": "library/alpine"},
        {"from": "${SRC}/a:1", "tag": "2", "to": "dst", "name": "b"},
    ]
    assert "{{ .Whatever }}/a:1: it has a template" in spec


JUNK: tuple[Any, ...] = (
    None, "", "x", "../..", "a b", "a\nb: c", '"', "'", "#", "[", "{{ x }}", "${X}", "$${", "@", "*", "ü", "\u2028",
    "9" * 500, "-", "sha256:", f"sha256:{'c' * 64}", "nginx", "nginx:1", "http://x", "oci:x", "docker-daemon:", "(",
    "regex:(", "semver: x", "keep: latest 99999999999", "all", "true", [], {}, ["x", None, {}], {"x": "y"}, [["nginx"]],
)  # fmt: skip


def mutated(value: Any, dice: random.Random) -> Any:
    """Return a value with junk in some places, and keys left out."""
    if dice.random() < 0.08:
        return dice.choice(JUNK)
    if isinstance(value, dict):
        return {key: mutated(child, dice) for key, child in value.items() if dice.random() > 0.03}
    return [mutated(child, dice) for child in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "list"])
def test_whatever_the_values_are_what_is_written_is_valid_or_refused(name: str) -> None:
    written = 0
    documents = list(yaml.safe_load_all(SAMPLES[name]))
    for seed in range(60):
        dice = random.Random(seed)
        text = yaml.safe_dump_all([mutated(document, dice) for document in documents])
        try:
            made(text, name)
        except UsageError:
            continue
        written += 1
    assert written > 10 or name == "image-syncer-auth"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "expands to more than"),
        ("a: &a [*a]\n", "nested deeper"),
        ("[" * 500, "nested deeper"),
        ("a: &a {<<: *a, image: x}\n", "nested deeper"),
        ("\0\0", "not a text"),
        ("image: !!python/object/apply:os.system [x]\n", "it has no images"),
        ("&a: *b\n", ""),
    ],
    ids=["bomb", "recursion", "depth", "recursive merge", "binary", "objects", "unknown alias"],
)
def test_hostile_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        made(text)
    assert message in refused.value.message


def test_foreign_text_cannot_become_part_of_the_spec() -> None:
    text = made(
        "a.example:\n  images:\n    'x\"]\\n  - evil': ['1']\n    good: [\"1\"]\n    '${HOME}/y': ['1']\n"
        "  credentials: {username: 'a\"\\nb: ${X}', password: x}\n"
    )
    spec = yaml.safe_load(text)
    assert spec["mirrors"] == [{"from": "a.example/good", "tags": ["1"]}]
    assert spec["registries"]["a.example"]["username"] == 'a"\\nb: $${X}'
