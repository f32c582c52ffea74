"""--json: one document on stdout, valid by the shipped schemas, in every case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.documents.envelope import VERSIONS
from tests.parts.bundles import pack
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import image, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry, ask

VERBS = ("validate", "plan", "apply", "lock", "verify", "images")
KINDS = {"plan": "plan", "apply": "report", "lock": "lock", "verify": "verification", "images": "images"}


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Mirrorsync:
    """Return mirrorsync where a spec has an image to copy, one to move, one unchanged, one by digest."""
    source = Registry(registry.host)
    for tag in ("same", "moved"):
        source.push(f"{unique}/app", multi_platform("app", tag), tag)
    mirrors: list[Any] = [{"from": f"{registry.host}/{unique}/app", "tags": ["same", "moved"]}]
    spec = {"registries": plain(registry.host), "destinations": {"disk": "oci:disk"}}
    mirrorsync.spec({**spec, "mirrors": mirrors})
    mirrorsync("apply", code=0)
    source.push(f"{unique}/app", multi_platform("app", "newer"), "moved")
    by_digest = source.push(f"{unique}/app", multi_platform("app", "by digest"))
    mirrors += [{"from": f"{registry.host}/{unique}/app", "tags": [by_digest], "name": "pinned"}]
    mirrorsync.spec({**spec, "mirrors": mirrors})
    return mirrorsync


def test_every_document_is_valid_and_alone_on_stdout(site: Mirrorsync) -> None:
    assert site("validate", "--json", code=0).json()["problems"] == []
    plan = valid(site("plan", "--json", "--exit-code", code=10).json(), "plan")
    assert [image["state"] for image in plan["images"]] == ["unchanged", "moved", "new"]
    assert {step["do"] for step in plan["steps"]} == {"copy", "put", "tag"}
    images = valid(site("images", "--json", code=0).json(), "images")
    assert [image["root"] for image in images["images"]] == [image["after"] for image in plan["images"]]
    before = valid(site("verify", "--json", code=1).json(), "verification")
    assert [image["health"] for image in before["images"]] == ["complete", "behind", "missing"]
    report = valid(site("apply", "--json", code=0).json(), "report")
    assert [image["outcome"] for image in report["images"]] == ["unchanged", "done", "done"]
    assert report["exit_code"] == 0
    after = valid(site("verify", "--json", code=0).json(), "verification")
    assert {image["health"] for image in after["images"]} == {"complete"}


def test_every_kind_of_document_is_printed_and_valid(site: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    name = f"docker://{registry.host}/{unique}/app"
    (site.directory / "pods.json").write_text('{"kind": "Pod", "spec": {"containers": [{"image": "redis:7"}]}}')
    pack({"app:1": image([layer({"a": b"1"})])}).write(site.directory / "usb")
    runs: dict[str, tuple[tuple[str, ...], int]] = {
        "validation": (("validate",), 0),
        "lock": (("lock",), 0),
        "difference": (("diff", "mirror.lock", "mirror.lock"), 0),
        "images": (("images",), 0),
        "configuration": (("client-config", "--for", "podman", "--address", "corp.example"), 0),
        "plan": (("plan",), 0),
        "explanation": (("tags",), 0),
        "report": (("apply",), 0),
        "verification": (("verify", "oci:disk"), 0),
        "inspection": (("inspect", "--tls-verify=false", f"{name}:same"), 0),
        "tags": (("list-tags", "--tls-verify=false", "--explain", name), 0),
        "login": (("login", "--tls-verify=false", "-u", "us", registry.host), 0),
        "logout": (("logout", registry.host), 0),
        "history": (("history", "--changes"), 0),
        "state": (("state", "export", "state.json"), 0),
        "impact": (("impact", registry.host), 0),
        "relocation": (("relocate", "--address", "site:5000", "mirror.yaml"), 0),
        "comparison": (("compare", "pods.json", "mirror.yaml"), 0),
        "started": (("init", "first.yaml"), 0),
        "bundle-creation": (("bundle", "create", "--parity", "10%", "--output", "made"), 0),
        "bundle-export": (("bundle", "export", "usb", "--for", "k3s", "--output", "node"), 0),
        "bundle-contents": (("bundle", "inspect", "usb"), 0),
        "bundle-repair": (("bundle", "repair", "made"), 0),
        "bundle-verification": (("bundle", "verify", "usb"), 0),
        "import": (("bundle", "apply", "usb", "--to", "oci:imported"), 0),
        "imports": (("history", "--imports"), 0),
        "bundle-answer": (("bundle", "answer", "usb", "--to", "oci:imported"), 0),
        "inventory": (("inventory", "oci:disk"), 0),
        "error": (("inspect", "oci:nowhere:app:1"), 1),
    }
    for kind, (words, code) in runs.items():
        valid(site(*words, "--json", env={"MIRRORSYNC_PASSWORD": "hunter2"}, code=code).json(), kind)
    with Serve(site.directory / "served", "--json") as server:
        assert ask("GET", f"http://{server.host}/v2/").status == 200
        valid(json.loads(server.log.read_text()), "serving")
    assert {*runs, "serving"} == set(VERSIONS)


def test_a_saved_plan_is_the_document_that_json_prints(site: Mirrorsync) -> None:
    printed = site("plan", "--json", "--output", "plan.json", code=0).json()
    saved = json.loads((site.directory / "plan.json").read_text())
    assert {**saved, "created": ""} == {**printed, "created": ""}
    valid(saved, "plan")


@pytest.mark.parametrize("verb", KINDS)
def test_failures_of_single_images_are_in_the_document(site: Mirrorsync, registry: DockerRegistry, verb: str) -> None:
    spec = json.loads((site.directory / "mirror.yaml").read_text())
    spec["mirrors"].append(f"{registry.host}/no/such:1")
    site.spec(spec)
    done = site(verb, "--json", code=3)
    document = valid(done.json(), KINDS[verb])
    (failure,) = document["failures"]
    assert failure["subject"] == f"{registry.host}/no/such:1"
    assert failure["error"]["side"] == "source"
    assert failure["error"]["remedy"]
    assert f"failed: source {registry.host}/no/such:1: " in done.err
    if verb == "apply":
        assert document["exit_code"] == 3


@pytest.mark.parametrize(
    ("verb", "broken"),
    [
        *((verb, "missing") for verb in VERBS),
        *((verb, broken) for verb in ("validate", "apply") for broken in ("no YAML", "wrong")),
    ],
)
def test_errors_are_documents(mirrorsync: Mirrorsync, verb: str, broken: str) -> None:
    texts = {"no YAML": "version: [1", "wrong": "version: 1\nmirrors: [nginx:1]\nmirror: 2\n"}
    if broken in texts:
        (mirrorsync.directory / "mirror.yaml").write_text(texts[broken])
    done = mirrorsync(verb, "--json", code=2)
    document = done.json()
    if verb == "validate" and broken != "missing":
        assert document["kind"] == "mirrorsync.validation"
        assert document["spec"] == str(mirrorsync.directory / "mirror.yaml")
        assert all(problem["message"] and problem["line"] for problem in document["problems"])
        return
    assert document["kind"] == "mirrorsync.error"
    assert document["error"]["exit_code"] == 2
    assert document["error"]["message"]
    assert done.err, "people are told too"


def test_a_usage_error_is_a_document_with_json(mirrorsync: Mirrorsync) -> None:
    done = mirrorsync("plan", "--json", "--shallow", code=2)
    assert done.json()["kind"] == "mirrorsync.error"
    assert "--shallow" in done.json()["error"]["message"]
    assert "--shallow" in done.err


def test_error_documents_have_the_pointers_of_spec_problems(mirrorsync: Mirrorsync) -> None:
    (mirrorsync.directory / "mirror.yaml").write_text("version: 1\nmirrors: [nginx:1]\nmirror: 2\n")
    validated = mirrorsync("validate", "--json", code=2).json()["problems"]
    assert len(validated) >= 1
    assert mirrorsync("plan", "--json", code=2).json()["error"]["problems"] == validated


def test_log_lines_as_json_are_json_and_leave_the_document_alone(site: Mirrorsync) -> None:
    done = site("apply", "--json", "--log-format", "json", "-vv", code=0)
    valid(done.json(), "report")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {"timestamp", "level", "event"} <= set.intersection(*(set(line) for line in lines))
    assert {"phase", "blob", "image done"} <= {line["event"] for line in lines}
    assert [line["digest"] for line in lines if line["event"] == "image done"]
