"""Saved plans: exactly the plan that was reviewed is applied, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mirrorsync
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, index, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

NOTHING = mirrorsync.process_environment({})  # no credentials, caches or proxies of the machine
OLD, NEW, THIRD = (multi_platform("app", version) for version in ("old", "new", "third"))


class Site:
    """A source with a tag, a destination with an older image under that tag, and a plan to update it."""

    def __init__(self, run: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
        self.run, self.host, self.unique = run, registry.host, unique
        self.there = Registry(registry.host)
        self.source, self.target = f"{unique}/app", f"{unique}/there/{unique}/app"
        self.there.push(self.source, OLD, "stable")
        self.spec()
        spec = mirrorsync.load_spec(run.directory / "mirror.yaml")
        mirrorsync.apply_plan(
            mirrorsync.make_plan(spec, environment=NOTHING),
            spec,
            environment=NOTHING,
        )
        self.there.push(self.source, NEW, "stable")
        mirrorsync.save_plan(mirrorsync.make_plan(spec, environment=NOTHING), run.directory / "plan.json")

    def spec(self, *tags: str) -> None:
        mirrors = [{"from": f"{self.host}/{self.source}", "tags": ["stable", *tags]}]
        destinations = {"there": f"{self.host}/{self.unique}/there"}
        self.run.spec({"registries": plain(self.host), "destinations": destinations, "mirrors": mirrors})

    @property
    def plan(self) -> Any:
        return json.loads((self.run.directory / "plan.json").read_text())

    def save(self, plan: Any) -> None:
        (self.run.directory / "plan.json").write_text(json.dumps(plan))

    def unchanged(self) -> bool:
        """Return whether the destination is unchanged, without any content of the new image."""
        return (
            self.there.holds(self.target, OLD, "stable") and self.there.manifest(self.target, NEW.digest).status == 404
        )


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    return Site(mirrorsync, registry, unique)


def test_a_saved_plan_is_applied_as_it_is(site: Site) -> None:
    done = site.run("apply", "plan.json", "--json", code=0).json()
    assert [image["outcome"] for image in done["images"]] == ["done"]
    assert site.there.holds(site.target, NEW, "stable")
    assert site.run("plan", "--exit-code", code=0)


def test_saving_a_plan_prints_how_to_apply_it(site: Site) -> None:
    done = site.run("plan", "-o", "plan.json")
    assert done.out.endswith("Run: mirrorsync apply plan.json\n")
    assert done.err.endswith("saved to plan.json\n")


def test_a_saved_plan_can_be_applied_from_any_directory_and_with_a_moved_spec(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (site.run.directory / "mirror.yaml").rename(elsewhere / "carried.yaml")
    assert "does not exist" in site.run("apply", "plan.json", code=2).err
    site.run("apply", "plan.json", "--spec", "elsewhere/carried.yaml", code=0)
    assert site.there.holds(site.target, NEW, "stable")


def moved_source(site: Site) -> None:
    site.there.push(site.source, THIRD, "stable")


def moved_source_back(site: Site) -> None:
    site.there.push(site.source, OLD, "stable")


def moved_destination(site: Site) -> None:
    site.there.push(site.target, THIRD, "stable")


def changed_spec(site: Site) -> None:
    site.spec("other")


STALE: dict[str, tuple[Callable[[Site], None], str]] = {
    "a tag of the source moved": (moved_source, "changed after the plan was made"),
    "a tag of the source moved back": (moved_source_back, "changed after the plan was made"),
    "a tag of the destination moved": (moved_destination, "changed after the plan was made"),
    "the spec changed": (changed_spec, "was changed after the plan was made"),
}


@pytest.mark.parametrize("what", STALE)
def test_a_stale_plan_is_rejected_with_5(site: Site, what: str) -> None:
    change, message = STALE[what]
    change(site)
    before = site.there.manifest(site.target, "stable").body
    refused = site.run("apply", "plan.json", "--json", code=5)
    assert refused.json()["error"]["exit_code"] == 5
    assert message in refused.err
    assert "make a new plan" in refused.err
    assert site.there.manifest(site.target, "stable").body == before


def step(plan: Any, kind: str) -> Any:
    return next(step for step in plan["steps"] if step["do"] == kind)


def other_host(plan: Any) -> None:
    step(plan, "tag")["target"]["store"] = "evil.example"


def other_source_host(plan: Any) -> None:
    for kind in ("copy", "put", "tag"):
        step(plan, kind)["source"]["store"] = "evil.example"


def all_other_host(plan: Any) -> None:
    for place in (*plan["images"], *plan["steps"]):
        for target in (place.get("target"), *place.get("targets", [])):
            if target:
                target["store"] = "evil.example"


def other_repository(plan: Any) -> None:
    for place in (*plan["images"], *plan["steps"]):
        for target in (place.get("target"), *place.get("targets", [])):
            if target:
                target["repository"] = "production/app"


def other_tag(plan: Any) -> None:
    plan["images"][0]["tag"] = step(plan, "tag")["tag"] = "latest"


def extra_tag(plan: Any) -> None:
    plan["steps"].append({**step(plan, "tag"), "tag": "latest"})


def extra_blob(plan: Any) -> None:
    extra = json.loads(json.dumps(step(plan, "copy")).replace(step(plan, "copy")["blob"]["digest"][7:], "0" * 64))
    plan["steps"].insert(0, extra)


def not_following(plan: Any) -> None:
    plan["images"][0]["followed"] = None


def no_steps(plan: Any) -> None:
    plan["steps"] = []


def other_manifest(plan: Any) -> None:
    step(plan, "tag")["manifest"]["digest"] = step(plan, "put")["manifest"]["digest"]


def moves_anything(plan: Any) -> None:
    step(plan, "tag")["before"] = None


def needs_what_is_not_there(plan: Any) -> None:
    step(plan, "tag")["needs"].append("copy:sha256:" + "0" * 64)


def needs_itself(plan: Any) -> None:
    step(plan, "tag")["needs"].append(step(plan, "tag")["id"])


def step_twice(plan: Any) -> None:
    plan["steps"].append(step(plan, "tag"))


def unknown_step(plan: Any) -> None:
    plan["steps"].append({"do": "delete", "id": "delete:everything"})


def unknown_member(plan: Any) -> None:
    plan["shell"] = "rm -rf /"


def bad_tag(plan: Any) -> None:
    step(plan, "tag")["tag"] = "../../x"


def no_digest(plan: Any) -> None:
    step(plan, "copy")["blob"]["digest"] = "sha256:1234"


def negative_size(plan: Any) -> None:
    step(plan, "copy")["blob"]["size"] = -1


def other_version(plan: Any) -> None:
    plan["version"] = 1


TAMPERED = (
    other_host, other_source_host, all_other_host, other_repository, other_tag, extra_tag, extra_blob, not_following,
    no_steps, other_manifest, moves_anything, needs_what_is_not_there, needs_itself, step_twice, unknown_step,
    unknown_member, bad_tag, no_digest, negative_size, other_version,
)  # fmt: skip


def test_a_tampered_plan_is_rejected(site: Site) -> None:
    # One site for all, as none of them may change it; through the library, as that is fast.
    honest, spec = site.plan, mirrorsync.load_spec(site.run.directory / "mirror.yaml")
    for tamper in TAMPERED:
        plan = json.loads(json.dumps(honest))
        tamper(plan)
        site.save(plan)
        with pytest.raises(mirrorsync.MirrorsyncError) as refused:
            mirrorsync.apply_plan(
                mirrorsync.load_plan(site.run.directory / "plan.json"),
                spec,
                environment=NOTHING,
            )
        assert refused.value.exit_code == 2, tamper.__name__
        assert refused.value.remedy, tamper.__name__
        assert site.unchanged(), tamper.__name__
    refused_run = site.run("apply", "plan.json", code=2)
    assert "mirrorsync: " in refused_run.err
    site.save(honest)
    site.run("apply", "plan.json", code=0)


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_truncated_plan_is_rejected(site: Site, keep: float) -> None:
    text = (site.run.directory / "plan.json").read_text().rstrip()
    (site.run.directory / "plan.json").write_text(text[: int(len(text) * keep)])
    assert site.run("apply", "plan.json", code=2).err.count("\n") <= 2
    assert site.unchanged()


def test_a_saved_plan_rejects_options_that_would_change_it(site: Site) -> None:
    assert "applied as it is" in site.run("apply", "plan.json", "--deep", code=2).err
    assert "applied as it is" in site.run("apply", "plan.json", "--only", "*", code=2).err
    assert "--spec needs a saved plan" in site.run("apply", "--spec", "mirror.yaml", code=2).err


def test_a_plan_that_cannot_be_saved_leaves_no_partial_file(site: Site) -> None:
    refused = site.run("plan", "-o", "nowhere/plan.json", code=1)
    assert "nowhere/plan.json cannot be written: No such file or directory" in refused.err
    assert site.run("plan", "-o", ".", code=2)


def test_a_plan_of_some_mirrors_is_applied_to_only_those(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for name in ("one", "two"):
        Registry(registry.host).push(f"{unique}/{name}", multi_platform(name), "1")
    mirrors = [f"{registry.host}/{unique}/{name}:1" for name in ("one", "two")]
    mirrorsync.spec({"registries": plain(registry.host), "destinations": {"disk": "oci:disk"}, "mirrors": mirrors})
    mirrorsync("plan", "--only", "one", "-o", "plan.json", code=0)
    assert "1 done" in mirrorsync("apply", "plan.json", code=0).out
    assert "1 new" in mirrorsync("plan", code=0).out


def test_plans_of_every_kind_of_mirror_can_be_saved_and_applied(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    """The checks of a saved plan must accept every kind of mirror that a spec can have."""
    source = Registry(registry.host)
    images = {tag: image([layer({"tag": tag.encode()})]) for tag in ("1.0", "1.1", "2.0", "pinned", "edge")}
    for tag, made in images.items():
        source.push(f"{unique}/app", made, tag)
    several = index([images["1.0"], images["1.1"]])
    source.push(f"{unique}/app", several, "index")
    mirrorsync.spec({"destinations": {"disk": "oci:first"}, "registries": plain(registry.host),
                     "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": {"all": True}}]})  # fmt: skip
    mirrorsync("apply", code=0)
    name = f"{registry.host}/{unique}/app"
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"corp": f"{registry.host}/{unique}/corp", "disk": "oci:disk"},
            "defaults": {"to": ["corp", "disk"], "name": "{host}/{basename}"},
            "mirrors": [
                {"from": name, "tags": {"semver": ">=1", "newest": 2, "exclude": ["9*"]}},
                {"from": name, "tags": {"exact": ["edge"], "glob": ["ind*"]}, "name": "globbed"},
                {"from": name, "tags": [f"pinned@{images['pinned'].digest}"], "to": "disk"},
                {"from": name, "tags": [several.digest, images["1.0"].digest], "name": "by/digest"},
                {"from": "oci:first", "tags": {"all": True}, "name": "again/{repository}"},
            ],
        }
    )
    mirrorsync("plan", "--output", "plan.json", code=0)
    mirrorsync("apply", "plan.json", code=0)
    assert "nothing to do" in mirrorsync("plan", "--exit-code", code=0).out
