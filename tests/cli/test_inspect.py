"""`mirrorsync inspect`: what skopeo shows of an image, and what skopeo mixes up or cannot show."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_terminal import Terminal, text
from tests.cli.tools import skopeo_raw
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import (
    BUSYBOX,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Image,
    artifact,
    digest,
    image,
    layer,
    multi_platform,
    noise,
    write_layout,
)
from tests.parts.mirrorsync import Mirrorsync, Serve, program
from tests.parts.processes import run
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

PLAIN = "--tls-verify=false"


def labelled(architecture: str = "amd64", **config: Any) -> Image:
    """Return an image whose config has every field."""
    made = image([layer({"bin/busybox": BUSYBOX.read_bytes()}), layer({"x": b"x"})], architecture=architecture)
    document = json.loads(made.raw)
    members = json.loads(made.blobs.pop(document["config"]["digest"]))
    members |= {"created": "2024-01-02T03:04:05Z"}
    members["config"] |= {"Labels": {"org.example.b": "2", "org.example.a": "1"}, "Env": ["PATH=/bin", "A="], **config}
    raw = json.dumps(members).encode()
    document["config"] |= {"digest": digest(raw), "size": len(raw)}
    return Image(OCI_MANIFEST, json.dumps(document, indent=2).encode(), {**made.blobs, digest(raw): raw})


def skopeo(*words: str) -> Any:
    return json.loads(run("skopeo", *words))


@pytest.fixture
def app(registry: DockerRegistry, unique: str) -> str:
    """Return a repository with an image `one`, an index `multi`, and referrers of `one`."""
    source = Registry(registry.host)
    one = labelled()
    source.push(f"{unique}/app", one, "one")
    source.push(f"{unique}/app", multi_platform(unique, manifest=DOCKER_MANIFEST, list_type=DOCKER_LIST), "multi")
    source.push(f"{unique}/app", image([b"signs"]), f"{one.digest.replace(':', '-')}.sig")
    return f"docker://{registry.host}/{unique}/app"


def test_inspect_agrees_with_skopeo(mirrorsync: Mirrorsync, app: str) -> None:
    theirs = skopeo("inspect", PLAIN, f"{app}:one")
    ours = valid(mirrorsync("inspect", PLAIN, "--json", f"{app}:one", code=0).json(), "inspection")
    made = ours["image"]
    assert f"{ours['store']}/{ours['repository']}" == theirs["Name"]
    assert ours["root"]["digest"] == made["digest"] == theirs["Digest"]
    assert [each["digest"] for each in made["layers"]] == theirs["Layers"]
    assert made["compressed_size"] == sum(len(data) for data in labelled().blobs.values()) - made["config"]["size"]
    assert (made["created"], made["labels"], made["env"]) == (theirs["Created"], theirs["Labels"], theirs["Env"])
    assert made["platform"] == f"{theirs['Os']}/{theirs['Architecture']}"
    assert sorted(ours["tags"]) == sorted(theirs["RepoTags"])


def test_the_page_shows_all_facts_in_lines(mirrorsync: Mirrorsync, app: str) -> None:
    page = mirrorsync("inspect", PLAIN, f"{app}:one", code=0).out
    one = labelled()
    for part in (
        app.removeprefix("docker://"),
        one.digest,
        OCI_MANIFEST,
        "linux/amd64",
        "2024-01-02T03:04:05Z",
        "org.example.a  1",
        "PATH  /bin",
        "/bin/busybox echo it runs",
        f"signature  {image([b'signs']).digest}",
        "one",
        *(key for key in one.blobs if key not in one.raw.decode().partition("layers")[0]),
    ):
        assert part in page, part
    assert "\x1b" not in page


def test_the_digest_of_an_index_is_not_mixed_with_the_layers_of_a_platform(
    mirrorsync: Mirrorsync, app: str, unique: str
) -> None:
    root = multi_platform(unique, manifest=DOCKER_MANIFEST, list_type=DOCKER_LIST)
    whole = valid(mirrorsync("inspect", PLAIN, "--json", f"{app}:multi", code=0).json(), "inspection")
    assert whole["image"] is None
    assert [(each["platform"], each["digest"]) for each in whole["members"]] == [
        ("linux/amd64", root.children[0].digest),
        ("linux/arm64", root.children[1].digest),
    ]
    for number, architecture in enumerate(("amd64", "arm64")):
        theirs = skopeo("--override-arch", architecture, "inspect", PLAIN, f"{app}:multi")
        ours = mirrorsync(
            "inspect", PLAIN, "--json", "--platform", f"linux/{architecture}", f"{app}:multi", code=0
        ).json()
        assert ours["root"]["digest"] == theirs["Digest"] == root.digest
        assert ours["image"]["digest"] == root.children[number].digest
        assert [each["digest"] for each in ours["image"]["layers"]] == theirs["Layers"]


def test_an_index_without_this_machines_platform_is_shown(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    members = {"os": "linux", "architecture": "s390x"}
    only = image([layer({"a": b"s390x"})], architecture="s390x")
    document = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [{**only.descriptor, "platform": members}]}
    root = Image(DOCKER_LIST, json.dumps(document).encode(), children=[only])
    Registry(registry.host).push(f"{unique}/app", root, "1")
    reference = f"docker://{registry.host}/{unique}/app:1"
    assert subprocess.run(["skopeo", "inspect", PLAIN, reference], capture_output=True).returncode == 1
    found = mirrorsync("inspect", PLAIN, "--json", reference, code=0).json()
    assert found["image"]["digest"] == only.digest
    refused = mirrorsync("inspect", PLAIN, "--platform", "linux/riscv64", reference, code=1)
    assert "linux/riscv64" in refused.err
    assert "available: linux/s390x" in refused.err


def test_raw_and_config_print_the_stored_bytes(mirrorsync: Mirrorsync, app: str, unique: str) -> None:
    def printed(*words: str) -> bytes:
        done = subprocess.run(
            [program(), "inspect", PLAIN, *words],
            capture_output=True,
            cwd=mirrorsync.directory,
            env=mirrorsync.environment(),
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    one = labelled()
    root = multi_platform(unique, manifest=DOCKER_MANIFEST, list_type=DOCKER_LIST)
    config = one.blobs[json.loads(one.raw)["config"]["digest"]]
    assert printed("--raw", f"{app}:one") == one.raw == skopeo_raw(f"{app}:one")
    assert printed("--raw", f"{app}:multi") == root.raw
    assert printed("--raw", "--platform", "linux/arm64", f"{app}:multi") == root.children[1].raw
    assert printed("--raw", "--config", f"{app}:one") == config
    assert json.loads(printed("--config", f"{app}:one")) == json.loads(config)
    theirs = skopeo("inspect", "--config", PLAIN, f"{app}:one")
    assert theirs["rootfs"] == json.loads(config)["rootfs"]


def test_the_config_of_an_index_needs_a_platform(mirrorsync: Mirrorsync, app: str) -> None:
    refused = mirrorsync("inspect", PLAIN, "--config", f"{app}:multi", code=2)
    assert "--platform linux/amd64, or linux/arm64" in refused.err
    named = mirrorsync("inspect", PLAIN, "--config", "--platform", "linux/arm64", f"{app}:multi", code=0)
    assert named.json()["architecture"] == "arm64"


def test_host_selects_the_platform_of_this_machine(mirrorsync: Mirrorsync, app: str) -> None:
    host = run("dpkg", "--print-architecture").strip()
    done = mirrorsync("inspect", PLAIN, "--config", "--platform", "host", f"{app}:multi", code=0)
    assert done.json()["architecture"] == host


@pytest.mark.parametrize("reference", ["one", "multi"])
def test_layers_are_never_fetched(mirrorsync: Mirrorsync, reference: str) -> None:
    tiny = TinyRegistry()
    tiny.hold("app", image([noise("large", 3_000_000)]), "one")
    tiny.hold("app", multi_platform("app"), "multi")
    with Unruly(tiny) as server:
        mirrorsync("inspect", PLAIN, f"docker://{server.host}/app:{reference}", code=0)
        mirrorsync("inspect", PLAIN, "--platform", "linux/amd64", f"docker://{server.host}/app:{reference}", code=0)
    configs = {json.loads(raw)["config"]["digest"] for _, raw in tiny.manifests.values() if "config" in json.loads(raw)}
    assert {asked.method for asked in server.seen.requests} <= {"GET", "HEAD"}
    fetched = {asked.path.rpartition("/")[2] for asked in server.seen.requests if "/blobs/" in asked.path}
    assert fetched <= configs
    assert server.seen.served < 100_000


def test_a_second_inspect_reads_manifests_from_the_cache(mirrorsync: Mirrorsync) -> None:
    tiny = TinyRegistry()
    tiny.hold("app", labelled(), "one")
    with Unruly(tiny) as server:
        mirrorsync("inspect", PLAIN, f"docker://{server.host}/app:one", code=0)
        first = len(server.seen.requests)
        mirrorsync("inspect", PLAIN, f"docker://{server.host}/app:one", code=0)
    assert not [
        asked for asked in server.seen.requests[first:] if asked.method == "GET" and "/manifests/" in asked.path
    ]


@pytest.fixture
def unruly() -> Iterator[Unruly]:
    tiny = TinyRegistry()
    tiny.hold("app", labelled(), "one")
    with Unruly(tiny) as server:
        yield server


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_denied_list_of_tags_is_a_notice(mirrorsync: Mirrorsync, unruly: Unruly, status: int) -> None:
    unruly.fault("answer", "GET", "/tags/list", status=status)
    done = mirrorsync("inspect", PLAIN, "--json", f"docker://{unruly.host}/app:one", code=0)
    found = valid(done.json(), "inspection")
    assert found["image"]["digest"] == labelled().digest
    assert found["tags"] is None
    assert any("tags cannot be listed" in notice for notice in found["notices"])
    assert "tags cannot be listed" in done.err


def test_no_tags_does_not_list_tags(mirrorsync: Mirrorsync, unruly: Unruly) -> None:
    found = mirrorsync("inspect", PLAIN, "--json", "--no-tags", f"docker://{unruly.host}/app:one", code=0).json()
    assert found["tags"] is None
    assert unruly.seen.of("GET", "/tags/list") == []


def test_a_config_that_does_not_match_its_digest_is_an_integrity_error(mirrorsync: Mirrorsync, unruly: Unruly) -> None:
    unruly.fault("flip", "GET", "/blobs/", at=3)
    done = mirrorsync("inspect", PLAIN, "--json", f"docker://{unruly.host}/app:one", code=4)
    assert done.json()["kind"] == "mirrorsync.error"


def test_untrusted_text_is_escaped_on_a_terminal(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e[red]"
    made = labelled(Labels={evil: evil}, Cmd=[evil], Env=[f"A={evil}"])
    Registry(registry.host).push(f"{unique}/app", made, "1")
    reference = f"docker://{registry.host}/{unique}/app:1"
    plain = mirrorsync("inspect", PLAIN, reference, code=0).out
    assert "\\x1b]0;owned" in plain
    terminal = Terminal(mirrorsync, "inspect", PLAIN, reference)
    assert terminal.end() == 0
    for shown in (plain, text(terminal.shown)):
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
        assert "[red]" in shown, "nothing is read as markup"
    config = Terminal(mirrorsync, "inspect", PLAIN, "--config", reference)
    config.end()
    assert not {"\x1b", "\x07", "\u202e"} & set(text(config.shown))


def test_a_digest_is_not_broken_on_a_terminal(mirrorsync: Mirrorsync, app: str) -> None:
    terminal = Terminal(mirrorsync, "inspect", PLAIN, f"{app}:one", env={"COLUMNS": "40"})
    assert terminal.end() == 0
    assert labelled().digest in text(terminal.shown)
    assert "\x1b[" in terminal.shown


def test_referrers_are_shown_with_their_kind(mirrorsync: Mirrorsync, unique: str, served: Serve) -> None:
    source = Registry(served.host)
    one = labelled()
    source.push(f"{unique}/app", one, "one")
    sbom = artifact(one, b"sbom", "application/spdx+json")
    source.push(f"{unique}/app", sbom)
    source.push(f"{unique}/app", artifact(one, b"proof", "application/vnd.in-toto+json"))
    found = mirrorsync("inspect", PLAIN, "--json", f"docker://{served.host}/{unique}/app:one", code=0).json()
    kinds = {(each["kind"], each["artifact_type"]) for each in found["attached"]}
    assert kinds == {("sbom", "application/spdx+json"), ("attestation", "application/vnd.in-toto+json")}
    assert {each["subject"] for each in found["attached"]} == {one.digest}
    shown = mirrorsync("inspect", PLAIN, f"docker://{served.host}/{unique}/app@{sbom.digest}", code=0).out
    assert "application/spdx+json" in shown


def test_a_layout_is_inspected_like_a_registry(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    one = labelled()
    write_layout(tmp_path / "layout", {"team/app:one": one})
    for reference in ("oci:layout:team/app:one", "oci:layout"):
        found = valid(mirrorsync("inspect", "--json", reference, code=0).json(), "inspection")
        theirs = skopeo("inspect", f"oci:{tmp_path}/layout:team/app:one")
        assert found["root"]["digest"] == theirs["Digest"] == one.digest
        assert [each["digest"] for each in found["image"]["layers"]] == theirs["Layers"]
    write_layout(tmp_path / "layout", {"team/app:one": one, "team/app:two": image([b"two"])})
    refused = mirrorsync("inspect", "oci:layout", code=2)
    assert "name one: team/app:one, team/app:two" in refused.err


@pytest.mark.parametrize("place", ["oci-archive:{}/x.tar:app:1", "dir:{}/x", "docker-archive:{}/x.tar:app:1"])
def test_other_stores_are_inspected_as_by_skopeo(mirrorsync: Mirrorsync, tmp_path: Path, place: str) -> None:
    one = labelled()
    write_layout(tmp_path / "layout", {"one": one})
    reference = place.format(tmp_path)
    run("skopeo", "copy", "--quiet", f"oci:{tmp_path}/layout:one", reference)
    theirs = skopeo("inspect", reference)
    ours = valid(mirrorsync("inspect", "--json", reference, code=0).json(), "inspection")
    made = ours["image"]
    assert (made["created"], made["labels"], made["env"]) == (theirs["Created"], theirs["Labels"], theirs["Env"])
    assert len(made["layers"]) == len(theirs["Layers"])
    config = mirrorsync("inspect", "--config", reference, code=0).json()
    assert config["rootfs"] == skopeo("inspect", "--config", reference)["rootfs"]
    if not place.startswith("docker-archive"):  # each reader makes up its manifest
        assert ours["root"]["digest"] == theirs["Digest"] == one.digest
        assert [each["digest"] for each in made["layers"]] == theirs["Layers"]


@pytest.mark.parametrize(
    ("tag", "close"), [("onne", "did you mean one?"), ("zzzzzz", "`mirrorsync list-tags` shows the available ones")]
)
def test_a_missing_image_is_reported_with_similar_names(mirrorsync: Mirrorsync, app: str, tag: str, close: str) -> None:
    done = mirrorsync("inspect", PLAIN, f"{app}:{tag}", code=1)
    assert f"{app.removeprefix('docker://')}:{tag}: the repository has no such tag" in done.err
    assert close in done.err
    assert done.out == ""


def test_skopeo_exit_codes_makes_not_found_2(mirrorsync: Mirrorsync, app: str) -> None:
    theirs = subprocess.run(["skopeo", "inspect", PLAIN, f"{app}:none"], capture_output=True)
    ours = mirrorsync("inspect", PLAIN, "--json", "--skopeo-exit-codes", f"{app}:none")
    assert ours.code == 2
    assert theirs.returncode in (1, 2)  # Debian's skopeo is older than its own 2
    assert ours.json()["error"]["exit_code"] == 2
    assert mirrorsync("inspect", PLAIN, "--skopeo-exit-codes", f"{app}:one").code == 0
    unreachable = mirrorsync("inspect", "--retry-times", "0", "--skopeo-exit-codes", "docker://127.0.0.1:1/app:1")
    assert unreachable.code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("inspect",),
        ("inspect", "docker://HOST/Upper:1"),
        ("inspect", "oci:"),
        ("inspect", "--platform", "linux", "docker://localhost:1/a:1"),
        ("inspect", "--raw", "--json", "docker://localhost:1/a:1"),
        ("inspect", "https://localhost:1/a:1"),
    ],
)
def test_invalid_inspect_commands_are_usage_errors(mirrorsync: Mirrorsync, words: tuple[str, ...]) -> None:
    assert mirrorsync(*words).code == 2


def test_a_repository_without_a_tag_shows_latest_and_its_tags(mirrorsync: Mirrorsync, app: str) -> None:
    without = mirrorsync("inspect", PLAIN, "--json", app, code=0)
    assert without.json()["root"] is None
    assert {"one", "multi"} <= set(without.json()["tags"])
    host, _, repository = app.removeprefix("docker://").partition("/")
    Registry(host).push(repository, labelled(), "latest")
    found = mirrorsync("inspect", PLAIN, "--json", app, code=0).json()
    assert (found["tag"], found["root"]["digest"]) == ("latest", labelled().digest)
    assert "one" in found["tags"]
    nothing = mirrorsync("inspect", PLAIN, f"docker://{host}/no/such", code=1)
    assert f"{host}/no/such" in nothing.err
