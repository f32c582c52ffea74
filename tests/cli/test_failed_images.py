"""--failed writes the images that failed, and --only-from restricts a run to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.cli.seeds import copied_tags, mirror_all
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import artifact, digest, image, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


@pytest.fixture
def site(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> Mirrorsync:
    """Return a spec of three images, of which the layer of `2` cannot be read."""
    for tag in ("1", "2", "3"):
        Registry(proxy.upstream).push(f"{unique}/app", image([noise(f"{unique} {tag}", 100)]), tag)
    mirror_all(mirrorsync, proxy.host, unique, "1", "2", "3")
    proxy.answer(path_has(digest(noise(f"{unique} 2", 100))[7:]), 403, b'{"errors": [{"code": "DENIED"}]}')
    return mirrorsync


def test_what_failed_is_listed_and_repeated_alone(site: Mirrorsync, proxy: Proxy, unique: str) -> None:
    failed = site.directory / "failed.txt"
    done = site("apply", "--failed", "failed.txt", code=3)
    assert failed.read_text() == f"{proxy.host}/{unique}/app:2\n"
    assert "2 done, 1 failed; " in done.out
    assert "mirror.yaml:13)" in done.err
    proxy.recover()
    proxy.requests.clear()
    again = site("apply", "--only-from", "failed.txt", "--failed", "failed.txt", code=0)
    assert again.out.startswith("1 done; ")
    assert not [path for _, path in proxy.requests if path.endswith(("/manifests/1", "/manifests/3"))]
    assert failed.read_text() == "", "all is well"
    assert copied_tags(site) == {"1", "2", "3"}
    nothing = site("apply", "--only-from", "failed.txt", code=0)
    assert nothing.out == "nothing to do: 0 images up to date at 0 destinations\n"


def test_copy_takes_what_failed_and_lists_what_it_could_not_copy(site: Mirrorsync, proxy: Proxy, unique: str) -> None:
    site("apply", "--failed", "failed.txt", code=3)
    (name,) = (site.directory / "failed.txt").read_text().split()
    words = ("copy", f"docker://{name}", "oci:other", "--src-tls-verify=false", "--failed", "again.txt")
    site(*words, code=1)
    assert (site.directory / "again.txt").read_text() == f"{proxy.host}/{unique}/app:2\n"
    proxy.recover()
    site(*words, code=0)
    assert (site.directory / "again.txt").read_text() == ""


def test_a_plan_lists_what_could_not_be_planned(site: Mirrorsync, proxy: Proxy, unique: str) -> None:
    mirror_all(site, proxy.host, unique, "1", "gone")
    site("plan", "--failed", "failed.txt", code=3)
    assert (site.directory / "failed.txt").read_text() == f"{proxy.host}/{unique}/app:gone\n"
    shown = site("plan", "--failed", "-", code=3)
    assert shown.out == f"{proxy.host}/{unique}/app:gone\n", "nothing else is on stdout"
    assert "--json and --failed both write to stdout" in site("plan", "--failed", "-", "--json", code=2).err


def test_a_source_that_cannot_be_listed_is_its_repository_and_is_repeated_whole(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str
) -> None:
    for tag in ("1", "2"):
        Registry(proxy.upstream).push(f"{unique}/app", image([tag.encode()]), tag)
        Registry(proxy.upstream).push(f"{unique}/other", image([tag.encode()]), tag)
    sources = [{"from": f"{proxy.host}/{unique}/{name}", "tags": {"all": True}} for name in ("app", "other")]
    mirrorsync.spec({"registries": plain(proxy.host), "destinations": {"disk": "oci:disk"}, "mirrors": sources})
    proxy.answer(path_has(f"{unique}/app/tags/list"), 403, b'{"errors": [{"code": "DENIED"}]}')
    mirrorsync("apply", "--failed", "failed.txt", code=3)
    assert (mirrorsync.directory / "failed.txt").read_text() == f"{proxy.host}/{unique}/app\n"
    proxy.recover()
    assert mirrorsync("apply", "--only-from", "failed.txt", code=0).out.startswith("2 done; ")


def test_a_store_with_images_that_are_left_out_is_repeated_whole_and_fails_again(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    write_layout(tmp_path / "source", {"app:1": image([b"1"]), "app:1.0+build5": image([b"2"])})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [{"from": "oci:source", "tags": {"all": True}}]})
    mirrorsync("apply", "--failed", "failed.txt", code=3)
    assert (tmp_path / "failed.txt").read_text() == f"oci:{tmp_path}/source\n"
    again = mirrorsync("apply", "--only-from", "failed.txt", code=3)
    assert "left out" in again.err
    assert again.out.startswith("1 failed, 1 unchanged; ")


def test_a_list_may_have_comments_and_short_names_and_is_read_from_stdin_too(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    write_layout(tmp_path / "source", {f"app:{tag}": image([tag.encode()]) for tag in ("1", "2", "3")})
    mirrors = [f"oci:source:app:{tag}" for tag in ("1", "2")]
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": mirrors})
    (tmp_path / "list.txt").write_text("# failed yesterday\n\n  oci:source:app:2   # again\n")
    done = mirrorsync("plan", "--only-from", "list.txt", code=0)
    assert [line.split()[2] for line in done.out.splitlines() if line.startswith("new ")] == ["app:2"]
    assert done.out.endswith(". Run: mirrorsync apply --only-from list.txt\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("oci:source:app:9", "no mirror of mirror.yaml wants oci:{directory}/source:app:9"),
        ("oci:source:none:1", "no mirror of mirror.yaml wants oci:{directory}/source:none:1"),
        ("not a name", "list.txt:2: "),
    ],
)
def test_an_unknown_line_is_refused_by_name_before_anything_is_done(
    mirrorsync: Mirrorsync, tmp_path: Path, line: str, message: str
) -> None:
    write_layout(tmp_path / "source", {"app:1": image([b"1"])})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:source:app:1"]})
    (tmp_path / "list.txt").write_text(f"oci:source:app:1\n{line}\n")
    done = mirrorsync("apply", "--only-from", "list.txt", code=2)
    assert message.format(directory=tmp_path) in done.err
    assert not (tmp_path / "disk").exists()


def test_an_image_that_is_not_wanted_any_more_is_skipped_with_a_notice(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {f"app:1.{minor}": image([str(minor).encode()]) for minor in range(3)})
    newest = {"from": "oci:source:app", "tags": {"glob": ["1.*"], "newest": 2}}
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [newest]})
    (tmp_path / "list.txt").write_text("oci:source:app:1.0\noci:source:app:1.1\n")
    done = mirrorsync("apply", "--only-from", "list.txt", code=0)
    assert done.out.startswith("1 done; ")
    assert copied_tags(mirrorsync) == {"1.1"}
    assert "no mirror wants it any more" in done.err
    assert "app:1.0" in done.err


def test_a_referrer_that_failed_is_repeated_with_its_image(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> None:
    made = image([noise(unique, 50)])
    sbom = artifact(made, noise(f"{unique} sbom", 70))
    there = Registry(proxy.upstream)
    there.push(f"{unique}/app", made, "1")
    there.push(f"{unique}/app", sbom, f"{made.digest.replace(':', '-')}.sbom")
    mirror = {"from": f"{proxy.host}/{unique}/app", "tags": ["1"], "referrers": True}
    mirrorsync.spec({"registries": plain(proxy.host), "destinations": {"disk": "oci:disk"}, "mirrors": [mirror]})
    proxy.answer(path_has(digest(noise(f"{unique} sbom", 70))[7:]), 403, b'{"errors": [{"code": "DENIED"}]}')
    mirrorsync("apply", "--failed", "failed.txt", code=3)
    (name,) = (mirrorsync.directory / "failed.txt").read_text().split()
    assert ".sbom" in name or "@sha256:" in name
    proxy.recover()
    mirrorsync("apply", "--only-from", "failed.txt", "--failed", "failed.txt", code=0)
    assert mirrorsync("apply", code=0).out.startswith("nothing to do: 2 images")
