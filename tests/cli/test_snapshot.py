"""`snapshot` writes down what a location has, in the form of a lock; `diff` compares two of them."""

from __future__ import annotations

import json

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.front import front
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

PLAIN = "--tls-verify=false"


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_a_snapshot_of_a_registry_a_prefix_and_a_repository(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry
) -> None:
    host = fresh_registry.host
    digests = {name: Registry(host).push(name, made(name), "1") for name in ("a/x", "a/y", "b")}
    second = Registry(host).push("a/x", made("2"), "2")
    x = [f"{host}/a/x:1: {digests['a/x']}", f"{host}/a/x:2: {second}"]
    y, b = f"{host}/a/y:1: {digests['a/y']}", f"{host}/b:1: {digests['b']}"
    for location, expected in ((host, [*x, y, b]), (f"{host}/a/", [*x, y]), (f"{host}/a/x", x), (f"{host}/b:1", [b])):
        assert lines(mirrorsync("snapshot", PLAIN, location, code=0).out) == expected
    assert "no such tag" in mirrorsync("snapshot", PLAIN, f"{host}/b:2", code=1).err


def test_a_snapshot_of_a_layout_and_its_server_are_the_same_except_for_the_name(
    mirrorsync: Mirrorsync, served: Serve
) -> None:
    for tag in ("1", "2"):
        Registry(served.host).push("app", made(tag), tag)
    write_layout(mirrorsync.directory / "disk", {"app:1": made("1"), "app:2": made("2")})
    from_server = lines(mirrorsync("snapshot", PLAIN, f"{served.host}/app", code=0).out)
    assert [one.replace(f"{served.host}/", "") for one in from_server] == [
        one.replace(f"oci:{mirrorsync.directory}/disk:", "")
        for one in lines(mirrorsync("snapshot", "oci:disk", code=0).out)
    ]
    mirrorsync("snapshot", "oci:disk", "--output", "disk.lock", code=0)
    assert lines((mirrorsync.directory / "disk.lock").read_text())[0].startswith("oci:disk:app:1: sha256:")
    document = json.loads(mirrorsync("snapshot", "oci:disk", "--json", code=0).out)
    valid(document, "lock")
    assert [one["ref"] for one in document["images"]] == ["1", "2"]


def test_a_registry_that_does_not_list_its_repositories_is_refused_with_what_to_do(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", made("1"), "1")
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", "GET", "_catalog", status=404)
        done = mirrorsync("snapshot", PLAIN, f"{proxy.host}/{unique}/", "--output", "x.lock", code=1)
        assert "does not list" in done.err
        assert f"name one repository: {proxy.host}/{unique}/NAME" in done.err
        assert not (mirrorsync.directory / "x.lock").exists()


def test_an_image_that_cannot_be_resolved_is_named_and_not_in_the_snapshot(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1", "2"):
        Registry(registry.host).push(f"{unique}/app", made(tag), tag)
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", "*", "/manifests/2", status=403)
        done = mirrorsync("snapshot", PLAIN, f"{proxy.host}/{unique}/app", code=3)
    assert f"{proxy.host}/{unique}/app:2" in done.err
    assert [line.split(": ")[0] for line in lines(done.out)] == [f"{proxy.host}/{unique}/app:1"]


def test_a_spec_is_not_a_location(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec({"mirrors": []})
    assert "`mirrorsync lock` takes a spec" in mirrorsync("snapshot", "mirror.yaml", code=2).err


ONE, TWO = (f"sha256:{number * 64}" for number in "12")


def write(mirrorsync: Mirrorsync, name: str, images: dict[str, str]) -> None:
    text = "".join(f"  {image}: {digest}\n" for image, digest in images.items())
    (mirrorsync.directory / name).write_text(f"lock: 1\nimages:\n{text}")


def test_a_difference_names_what_is_new_moved_and_gone(mirrorsync: Mirrorsync) -> None:
    write(mirrorsync, "old", {"a.example/app:1": ONE, "a.example/app:2": ONE, "a.example/app:3": ONE})
    write(mirrorsync, "new", {"a.example/app:3": TWO, "a.example/app:4": ONE, "a.example/app:1": ONE})
    done = mirrorsync("diff", "old", "new", code=0)
    assert done.out.splitlines() == [
        "gone   a.example/app:2  111111111111",
        "moved  a.example/app:3  111111111111 -> 222222222222",
        "new    a.example/app:4  111111111111",
        "1 new, 1 moved, 1 gone",
    ]
    assert done.err == ""
    assert mirrorsync("diff", "old", "new", "--exit-code", "--quiet", code=10).out == ""
    assert mirrorsync("diff", "old", "old", "--exit-code", code=0).out == "no difference\n"
    document = json.loads(mirrorsync("diff", "old", "new", "--json", code=0).out)
    valid(document, "difference")
    assert [(one["ref"], one["state"]) for one in document["changes"]] == [("2", "gone"), ("3", "moved"), ("4", "new")]


def test_one_side_of_a_difference_can_be_standard_input(mirrorsync: Mirrorsync) -> None:
    write(mirrorsync, "old", {"a.example/app:1": ONE})
    text = (mirrorsync.directory / "old").read_text()
    assert mirrorsync("diff", "old", "-", stdin=text, code=0).out == "no difference\n"
    assert "cannot both be standard input" in mirrorsync("diff", "-", "-", stdin=text, code=2).err


def test_locks_without_a_common_repository_are_compared_with_a_notice(mirrorsync: Mirrorsync) -> None:
    write(mirrorsync, "old", {"a.example/app:1": ONE})
    write(mirrorsync, "new", {"b.example/app:1": ONE})
    done = mirrorsync("diff", "old", "new", code=0)
    assert "no repository is in both" in done.err
    assert done.out.endswith("1 new, 1 gone\n")
