"""`mirrorsync diff` between what runs left: generations and runs of the memory, saved reports and plans, snapshots."""

from __future__ import annotations

import json

import pytest

from mirrorsync.documents.envelope import VERSIONS
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """Three runs: tags 1 and 2; then 1 moved, 2 deleted and 3 new; then nothing. Each left a report."""

    def __init__(self, run: Mirrorsync, registry: Registry, name: str) -> None:
        self.run, self.registry, self.name = run, registry, name
        self.target = f"oci:{run.directory}/disk:app"
        for tag in ("1", "2"):
            registry.push(f"{name}/app", made(tag), tag)
        self.apply(["1", "2"], "first")
        for tag in ("1", "3"):
            registry.push(f"{name}/app", made(f"another {tag}"), tag)
        self.apply(["1", "3"], "second")
        self.apply(["1", "3"], "third")

    def apply(self, tags: list[str], name: str) -> None:
        self.run.spec(
            {
                "registries": plain(self.registry.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [{"from": f"{self.registry.host}/{self.name}/app", "tags": tags, "name": "app"}],
                "prune": {},
            }
        )
        self.run("plan", "--output", f"{name}.plan", code=0)
        (self.run.directory / f"{name}.json").write_text(self.run("apply", "--json", code=0).out)
        self.run("snapshot", "oci:disk", "--output", f"{name}.lock", code=0)

    def diff(self, *words: str) -> dict[str, str]:
        """Return how each tag differs; a layout also has what a tag named before, without a tag."""
        changes = self.run("diff", *words, "--json", code=0).json()["changes"]
        assert {one["location"]["repository"] for one in changes} <= {"app"}
        return {one["ref"]: one["state"] for one in changes if not one["ref"].startswith("sha256:")}


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    return Site(mirrorsync, Registry(registry.host), unique)


def test_whatever_names_two_states_of_a_mirror_the_difference_is_the_same(site: Site) -> None:
    expected = {"1": "moved", "2": "gone", "3": "new"}
    olds = ("generation:1", "run:1", "first.json", "first.lock", "first.plan")
    news = ("generation:2", "run:3", "third.json", "second.lock", "second.plan")
    for old, new in [*zip(olds, news, strict=True), ("run:1", "second.plan"), ("first.json", "run:2")]:
        assert site.diff(old, new) == expected, (old, new)
    for old, new in [("run:2", "run:3"), ("generation:2", "second.lock"), ("second.json", "third.plan")]:
        assert site.diff(old, new) == {}, (old, new)
    shown = site.run("diff", "first.json", "generation:2", "--exit-code", code=10).out.splitlines()
    assert [line.split()[:2] for line in shown[:3]] == [
        ["moved", f"{site.target}:1"], ["gone", f"{site.target}:2"], ["new", f"{site.target}:3"]
    ]  # fmt: skip
    assert shown[3] == "1 new, 1 moved, 1 gone"
    report = (site.run.directory / "second.json").read_text()
    assert site.run("diff", "run:1", "-", stdin=report, code=0).out.splitlines() == shown


def test_the_images_that_a_run_did_not_change_are_compared_as_they_were(site: Site) -> None:
    document = json.loads((site.run.directory / "second.json").read_text())
    for one in document["images"]:
        one["outcome"] = "failed"
    (site.run.directory / "failed.json").write_text(json.dumps(document))
    assert site.diff("first.json", "failed.json") == {}


def test_the_runs_of_another_spec_are_named_by_it(site: Site) -> None:
    other = site.run.spec(json.loads((site.run.directory / "mirror.yaml").read_text()), "other.yaml")
    refused = site.run("diff", "run:1", "run:2", "--spec", other, code=2).err
    assert f"no run of {other} is remembered" in refused
    site.run("apply", "other.yaml", code=0)
    assert site.diff("generation:1", "first.lock", "--spec", "other.yaml") == {"1": "moved", "2": "new", "3": "gone"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generation:9", "first.lock"), "there is no generation 9: there are 1 to 2"),
        (("first.lock", "run:9"), "there is no run 9: the last one is 3"),
        (("no-such.json", "run:1"), "no-such.json does not exist"),
        (("-", "-"), "cannot both be standard input"),
    ],
)
def test_what_cannot_be_compared_is_refused(site: Site, words: tuple[str, str], said: str) -> None:
    assert said in site.run("diff", *words, code=2).err


def test_a_damaged_report_or_plan_is_refused_with_the_pointer_of_the_damage(mirrorsync: Mirrorsync) -> None:
    head = '{"kind": "mirrorsync.%s", "version": %d, "images": [%s]}'
    path = mirrorsync.directory / "x.json"
    for kind, version, images, said in (
        ("report", VERSIONS["report"], '{"target": 1}', "damaged report (at /images/0/tag): missing"),
        ("report", VERSIONS["report"] + 1, "", "damaged report (at /version)"),
        ("plan", VERSIONS["plan"], "7", "damaged plan (at /images/0): not an object"),
        ("report", VERSIONS["report"], "", "no difference"),
    ):
        path.write_text(head % (kind, version, images))
        done = mirrorsync("diff", "x.json", "x.json")
        assert said in done.err + done.out
    path.write_text('{"kind": "mirrorsync.report", "images": [')
    assert "damaged report (at line 1, column" in mirrorsync("diff", "x.json", "x.json", code=2).err
