"""`images_file:` in a spec: a list of images beside it, with the policies of its entry, and its mistakes."""

from __future__ import annotations

import json

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """A registry with three images, and a spec with a list of them."""

    def __init__(self, run: Mirrorsync, host: str, unique: str) -> None:
        self.run, self.host, self.unique = run, host, unique
        self.prefix = f"{host}/{unique}"
        for name, tag in (("a", "1"), ("a", "2"), ("b", "1")):
            self.push(name, f"{name} {tag}", tag)

    def push(self, name: str, what: str, tag: str) -> None:
        Registry(self.host).push(f"{self.unique}/{name}", made(what), tag)

    def write(self, *lines: str, name: str = "lists/images.txt") -> None:
        path = self.run.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))

    def spec(self, *more: object, **keys: object) -> None:
        self.run.spec(
            {
                "registries": plain(self.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [{"images_file": "lists/images.txt", **keys}, *more],
            }
        )

    def wanted(self) -> list[str]:
        images = self.run("images", "--json", code=0).json()["images"]
        return [f"{found['target']['repository']}:{found['tag']}" for found in images]


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    return Site(mirrorsync, registry.host, unique)


def test_each_line_is_mirrored_with_the_keys_of_the_entry(site: Site) -> None:
    site.write(
        "# a comment", f"{site.prefix}/a:1", "", f"{site.prefix}/a:2 # why", f"{site.prefix}/b:1", f"{site.prefix}/a:1"
    )
    site.spec(name="m/{basename}", on_change="fail")
    assert site.wanted() == ["m/a:1", "m/a:2", "m/b:1"]
    site.run("plan", "--output", "saved.plan", code=0)
    assert "3 done" in site.run("apply", "saved.plan", code=0).out
    site.push("b", "moved", "1")
    report = site.run("apply", "--json", code=3).json()
    (failed,) = report["failures"]
    assert failed["source"]["repository"] == f"{site.unique}/b"
    spec = (site.run.directory / "mirror.yaml").read_text().splitlines()
    assert "{" in spec[failed["line"] - 1], "the line of the entry"


def test_three_words_name_the_destination(site: Site) -> None:
    site.write(f"{site.prefix}/a rancher/mirrored-a 2", f"{site.prefix}/b:1")
    site.spec()
    assert site.wanted() == ["rancher/mirrored-a:2", f"{site.unique}/b:1"]
    site.spec(name="x/{basename}")
    done = site.run("plan", code=2)
    assert "lists/images.txt:1:1: the line has a name for the destination, and so has name:; remove name:" in done.err


def test_wrong_lines_are_mistakes_of_the_spec_with_file_and_line(site: Site) -> None:
    site.write("nginx:1", "  these are words", "redis", "https://quay.io/x", "quay.io/x/*:1")
    site.spec()
    done = site.run("validate", code=2)
    lines = [line for line in done.err.splitlines() if "images.txt" in line]
    assert [line.partition("lists/images.txt:")[2].partition(": ")[0] for line in lines] == ["2:3", "3:1", "4:1", "5:1"]
    assert "docker.io/library/redis has no tag; write docker.io/library/redis:latest" in lines[1]
    problems = site.run("validate", "--json", code=2).json()["problems"]
    assert [(one["line"], one["file"].endswith("lists/images.txt")) for one in problems] == [
        (2, True), (3, True), (4, True), (5, True),
    ]  # fmt: skip
    site.write(f"{site.prefix}/a:1", f"{site.prefix}/b:1")
    site.spec(name="same")
    done = site.run("validate", code=2)
    assert "lists/images.txt:2:1: " in done.err
    assert f"{site.prefix}/a:1 (line 1 of images.txt) and {site.prefix}/b:1" in done.err


def test_a_list_that_does_not_exist_or_is_empty_is_a_mistake_and_deletes_nothing(site: Site) -> None:
    site.spec()
    done = site.run("apply", code=2)
    assert "/mirrors/0/images_file: list of images" in done.err
    assert "does not exist; check the path; relative ones start from the directory of the spec" in done.err
    site.write("# nothing")
    assert "lists/images.txt has no images; write one image a line" in site.run("apply", code=2).err
    site.spec(tags=["1"], allow_empty=True)
    done = site.run("apply", code=2)
    assert "/mirrors/0/tags: this has no effect together with images_file:" in done.err
    assert "/mirrors/0/allow_empty: this has no effect together with images_file:" in done.err


def test_a_saved_plan_is_stale_if_the_list_was_changed(site: Site) -> None:
    site.write(f"{site.prefix}/a:1")
    site.spec()
    site.run("plan", "--output", "saved.plan", code=0)
    site.write(f"{site.prefix}/a:1", f"{site.prefix}/b:1")
    assert "was changed after the plan was made" in site.run("apply", "saved.plan", code=5).err
    site.write(f"{site.prefix}/a:1")
    assert "1 done" in site.run("apply", "saved.plan", code=0).out


def test_only_from_reads_the_same_lists(site: Site) -> None:
    lines = ["// both kinds of comments", f"{site.prefix}/a:1   // here", f"{site.prefix}/b mirrored/b 1"]
    site.write(*lines)
    site.spec(f"{site.prefix}/a:2")
    assert "2 done" in site.run("apply", "--only-from", "lists/images.txt", code=0).out
    site.write(*lines, "these are words", name="wrong.txt")
    done = site.run("apply", "--only-from", "wrong.txt", code=2)
    assert "wrong.txt:4: 'these are words' is not an image" in done.err


def test_tags_that_left_the_list_are_pruned(site: Site) -> None:
    site.write(f"{site.prefix}/a:1", f"{site.prefix}/a:2", f"{site.prefix}/b:1")
    site.spec()
    site.run("apply", code=0)
    site.write(f"{site.prefix}/a:2")
    document = json.loads((site.run.directory / "mirror.yaml").read_text())
    del document["version"]
    site.run.spec({**document, "prune": {}})
    report = site.run("apply", "--json", code=0).json()
    assert sorted((one["target"]["repository"], one["tag"], one["state"]) for one in report["images"]) == [
        (f"{site.unique}/a", "1", "deleted"),
        (f"{site.unique}/a", "2", "unchanged"),
        (f"{site.unique}/b", "1", "deleted"),
    ]
    assert "1 image complete" in site.run("verify", "oci:disk", code=0).out


def test_a_missing_key_of_an_entry_with_a_list_or_several_sources_is_reported_at_the_entry(site: Site) -> None:
    site.write("docker.io/library/nginx:1", "docker.io/library/redis:1")
    several = {"from": ["quay.io/a/x", "quay.io/a/y"], "tags": ["1"], "verify": {"cosign": {"key": "other.pub"}}}
    site.spec(several, verify={"cosign": {"key": "missing.pub"}})
    done = site.run("validate", code=2)
    found = [line.split(": ")[1] for line in done.err.splitlines() if ".pub" in line and "mirror.yaml" in line]
    assert found == ["/mirrors/0/verify/cosign/key", "/mirrors/1/verify/cosign/key"]
