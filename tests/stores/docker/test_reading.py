"""Read docker archives of all tools."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mirrorsync.errors import IntegrityError, Malformed, RepositoryNotFound, UsageError
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import THE_ONLY_ONE, Tag, parse_ref
from mirrorsync.stores.base import HoldsUnnamed, Store
from tests.cli.tools import Podman
from tests.parts.compressions import COMPRESS
from tests.parts.images import digest, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run
from tests.stores.docker.parts import (
    BASE,
    ONE,
    TOP,
    TWO,
    WRITERS,
    Plain,
    by_containers_image,
    by_docker_24,
    by_nix,
    hexes,
    manifest,
    packed,
    pulled,
    tarball,
    within,
)
from tests.stores.layout.parts import names_of

NAMES = ["quay.io/corp/app:1"]


def read(path: Path, repository: str = "quay.io/corp/app", tag: str = "1") -> tuple[Manifest, dict[str, bytes]]:
    return within(path, lambda store: pulled(store.repository(repository), tag))


def plain(found: tuple[Manifest, dict[str, bytes]]) -> Plain | None:
    """Return the image that was read, with its layers decompressed by the standard library."""
    blobs = list(found[1].values())
    layers = {digest(gzip.decompress(data)): gzip.decompress(data) for data in blobs[1:]}
    config = json.loads(blobs[0])
    made = Plain(tuple(layers[name] for name in config["rootfs"]["diff_ids"]), config["config"]["Labels"]["label"])
    return made if made.config == blobs[0] else None


@pytest.mark.parametrize("writer", WRITERS)
def test_the_archive_of_every_tool_is_read_with_exact_config_and_layers(tmp_path: Path, writer: str) -> None:
    twice = Plain((BASE, *ONE.layers, BASE))
    assert plain(read(tarball(tmp_path / "a.tar", WRITERS[writer](twice, NAMES)))) == twice


def test_the_same_image_has_the_same_digest_in_every_archive_with_uncompressed_layers(tmp_path: Path) -> None:
    plainly = [name for name in WRITERS if name not in ("crane", "jib", "docker save with containerd")]
    found = {read(tarball(tmp_path / f"{name[:3]}.tar", WRITERS[name](ONE, NAMES)))[0].digest for name in plainly}
    assert len(found) == 1


def test_gzipped_layers_are_used_unchanged(tmp_path: Path) -> None:
    found = read(tarball(tmp_path / "a.tar", WRITERS["crane"](ONE, NAMES)))[0]
    assert [blob.digest for blob in found.blobs[1:]] == [digest(gzip.compress(data, mtime=0)) for data in ONE.layers]


def test_archives_written_by_podman_and_skopeo_are_read(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"x": packed(ONE)})
    by_skopeo, by_podman = tmp_path / "skopeo.tar", tmp_path / "podman.tar"
    run("skopeo", "copy", "-q", f"oci:{tmp_path}/layout:x", f"docker-archive:{by_skopeo}:{NAMES[0]}")
    with Podman() as podman:
        podman("load", "-q", "-i", str(by_skopeo))
        podman("save", "-q", "--format", "docker-archive", "-o", str(by_podman), NAMES[0])
    assert plain(read(by_skopeo)) == plain(read(by_podman)) == ONE
    assert read(by_skopeo)[0].raw == read(by_podman)[0].raw


def test_an_archive_that_is_gzipped_as_a_whole_is_read(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tar", by_docker_24(ONE, NAMES))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert plain(read(path)) == ONE


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """An archive of two images with names, one of them with two, and one image without a name."""
    nameless = Plain((BASE,), "three")
    layers = {f"{hexes(data)}.tar": data for made in (ONE, TWO, nameless) for data in made.layers}
    configs = {f"{hexes(made.config)}.json": made.config for made in (ONE, TWO, nameless)}
    names = (["app:1", "docker.io/library/app:latest"], ["localhost:5000/app:1"], None)
    images = [
        (config, tags, [f"{hexes(data)}.tar" for data in made.layers])
        for (config, made, tags) in zip(configs, (ONE, TWO, nameless), names, strict=True)
    ]
    return tarball(tmp_path / "several.tar", [*layers.items(), *configs.items(), manifest(*images)])


@pytest.mark.parametrize(
    ("repository", "reference", "label"),
    [
        ("app", "1", "one"),
        ("app", "latest", "one"),
        ("localhost:5000/app", "1", "two"),
        ("", "@0", "one"),
        ("", "@1", "two"),
        ("", "@2", "three"),
    ],
)
def test_one_of_several_images_is_found_by_familiar_name_and_by_position(
    several: Path, repository: str, reference: str, label: str
) -> None:
    found = plain(read(several, repository, reference))
    assert found is not None
    assert found.label == label


@pytest.mark.parametrize(
    ("repository", "reference"), [("app", "2"), ("corp/app", "1"), ("", "@3"), ("", "@99999"), ("", "1")]
)
def test_a_missing_image_is_absent(several: Path, repository: str, reference: str) -> None:
    assert within(several, lambda store: store.repository(repository).resolve(parse_ref(reference))) is None


def test_the_only_image_needs_no_name_and_several_are_named_in_the_error(several: Path, tmp_path: Path) -> None:
    alone = tarball(tmp_path / "alone.tar", by_nix(ONE, NAMES))
    assert plain(read(alone, "", "")) == ONE
    with pytest.raises(UsageError, match="has 3 images") as caught:
        read(several, "", "")
    assert caught.value.remedy == "name one: app:1, localhost:5000/app:1, @2"
    assert within(tmp_path / "none.tar", lambda store: store.repository("").resolve(THE_ONLY_ONE)) is None


def test_repositories_and_tags_are_listed(several: Path) -> None:
    async def listed(store: Store) -> tuple[list[str], list[str]]:
        names = [name async for name in store.repositories()]
        return names, [tag async for tag in store.repository("app").tags()]

    assert within(several, listed) == (["", "app", "localhost:5000/app"], ["1", "latest"])


def test_an_unknown_repository_is_reported_with_the_available_names(several: Path) -> None:
    async def tags(store: Store) -> None:
        _ = [tag async for tag in store.repository("apq").tags()]

    with pytest.raises(RepositoryNotFound) as caught:
        within(several, tags)
    assert "app:1" in caught.value.remedy


def test_a_new_store_reads_a_blob_from_any_offset(several: Path) -> None:
    found, blobs = read(several, "app", "1")

    async def tail(store: Store, digest_: str, offset: int) -> bytes:
        blob = next(blob for blob in found.blobs if blob.digest == digest_)
        with store.repository("app").open(blob, offset) as chunks:
            return b"".join(chunks)

    for digest_, data in blobs.items():
        for offset in (0, 1, len(data) - 1):

            def work(store: Store, digest_: str = digest_, offset: int = offset) -> object:
                return tail(store, digest_, offset)

            assert within(several, work) == data[offset:]  # type: ignore[arg-type]


def pair(tmp_path: Path, first: object, *, without: str = "") -> Path:
    """Return an archive of two images, without a member; the first has these RepoTags, the second is other:2."""
    layers = {f"{hexes(data)}.tar": data for made in (ONE, TWO) for data in made.layers}
    configs = {f"{hexes(made.config)}.json": made.config for made in (ONE, TWO)}
    entries = [
        {"Config": config, "RepoTags": names, "Layers": [f"{hexes(data)}.tar" for data in made.layers]}
        for config, made, names in zip(configs, (ONE, TWO), (first, ["other:2"]), strict=True)
    ]
    members = {**layers, **configs, "manifest.json": json.dumps(entries).encode()}
    return tarball(tmp_path / "pair.tar", [member for member in members.items() if member[0] != without])


NO_NAMES = [["alpine@sha256:" + "0" * 64], ["notag"], [""], [None], None, [], ["<none>:<none>"], ["../../x:1"]]


@pytest.mark.parametrize("names", NO_NAMES, ids=str)
def test_an_image_whose_names_have_no_tag_is_read_by_its_position(tmp_path: Path, names: object) -> None:
    """docker writes such names if an image was saved by digest (moby#12968)."""
    path = pair(tmp_path, names)
    assert plain(read(path, "", "@0")) == ONE
    assert plain(read(path, "other", "2")) == TWO

    async def listed(store: Store) -> list[str]:
        assert isinstance(store, HoldsUnnamed)
        return [str(one.ref) for one in await store.unnamed()] + [name async for name in store.repositories()]

    assert within(path, listed) == ["@0", "", "other"]


def test_the_other_names_of_an_image_count_if_one_has_no_tag(tmp_path: Path) -> None:
    path = pair(tmp_path, ["notag", None, "app:1"])
    assert plain(read(path, "app", "1")) == ONE


def test_names_that_are_not_text_damage_their_own_image_only(tmp_path: Path) -> None:
    path = pair(tmp_path, [1, {"a": "b"}])
    assert plain(read(path, "other", "2")) == TWO
    with pytest.raises(Malformed, match="RepoTags is not a list of strings"):
        read(path, "", "@0")


def with_layers(path: Path, layers: Mapping[bytes, bytes]) -> Path:
    """Write an archive of one image with other bytes for its layers."""
    members = by_containers_image(ONE, ["app:1"])
    return tarball(
        path, [(name, layers.get(data, data) if isinstance(data, bytes) else data) for name, data in members]
    )


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_layer_in_any_compression_is_read(tmp_path: Path, compression: str) -> None:
    """gzip and zstd are pushed as they are; for others the image spec has no media type."""
    compressed = {data: COMPRESS[compression](data) for data in ONE.layers}
    path = with_layers(tmp_path / "a.tar", compressed)

    async def found(store: Store) -> list[tuple[str, bytes]]:
        repository = store.repository("app")
        root = await repository.resolve(Tag("1"))
        assert root is not None
        blobs = (await repository.manifest(root)).blobs[1:]
        return [(blob.media_type.rpartition("+")[2], await repository.read(blob)) for blob in blobs]

    if compression in ("gzip", "zstd"):
        assert within(path, found) == [(compression, compressed[data]) for data in ONE.layers]
    else:
        assert [(kind, gzip.decompress(data)) for kind, data in within(path, found)] == [
            ("gzip", data) for data in ONE.layers
        ]


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_damaged_layer_in_any_compression_does_not_match_its_diff_id(tmp_path: Path, compression: str) -> None:
    compressed = {data: COMPRESS[compression](data) for data in ONE.layers}
    path = with_layers(tmp_path / "a.tar", {data: half[: len(half) // 2] for data, half in compressed.items()})
    with pytest.raises(IntegrityError, match="does not match its diff_id"):
        read(path, "app", "1")


def test_a_file_system_of_docker_export_is_rejected_with_what_to_use(mirrorsync: Mirrorsync) -> None:
    """skopeo#2782."""
    files = {".dockerenv": b"", "etc/hosts": b"", "bin/sh": b"program", "dev/console": b""}
    tarball(mirrorsync.directory / "export.tar", [*files.items()])
    done = mirrorsync("copy", "docker-archive:export.tar", "oci:out:app:1", code=1)
    assert "it is a file system and not an image" in done.err
    assert "use `docker save`" in done.err


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_an_empty_file_is_a_new_archive_as_destination_and_a_missing_one_as_source(
    mirrorsync: Mirrorsync, kind: str
) -> None:
    """mktemp makes one for the name of a new archive."""
    tarball(mirrorsync.directory / "one.tar", by_containers_image(ONE, ["app:1"]))
    empty = mirrorsync.directory / "new.tar"
    empty.touch(0o600)
    done = mirrorsync("copy", f"{kind}:new.tar:app:1", "oci:out", code=1)
    assert "the path does not exist or is empty" in done.err
    mirrorsync("copy", "docker-archive:one.tar", f"{kind}:new.tar:app:1", code=0)
    assert empty.stat().st_mode & 0o777 == 0o600
    assert mirrorsync("list-tags", f"{kind}:new.tar", code=0).out.split() == ["app:1"]


def test_an_image_that_podman_named_is_found_without_localhost(mirrorsync: Mirrorsync) -> None:
    """podman names an image that it has built as app:dev localhost/app:dev."""
    tarball(mirrorsync.directory / "a.tar", by_containers_image(ONE, ["localhost/app:dev"]))
    mirrorsync("copy", "docker-archive:a.tar:app:dev", "oci:out:app:1", code=0)
    assert mirrorsync("list-tags", "docker-archive:a.tar:app", code=0).out.split() == ["dev"]
    mirrorsync("copy", "oci:out:app:1", "docker-archive:a.tar:app:dev", code=0)
    assert mirrorsync("list-tags", "docker-archive:a.tar", code=0).out.split() == ["app:dev", "localhost/app:dev"]


def test_a_list_of_names_that_is_cut_says_so(mirrorsync: Mirrorsync) -> None:
    tarball(mirrorsync.directory / "a.tar", by_containers_image(ONE, [f"{letter}/x:1" for letter in "abcde"]))
    done = mirrorsync("copy", "docker-archive:a.tar:quay.io/none:1", "oci:out", code=1)
    assert "available: a/x:1, b/x:1, c/x:1 and 2 more" in done.err


MISSING = f"{hexes(TOP)}.tar"  # only the first of the two images has it


def test_a_missing_layer_damages_its_own_image_only(tmp_path: Path) -> None:
    path = pair(tmp_path, ["app:1"], without=MISSING)
    assert plain(read(path, "other", "2")) == plain(read(path, "", "@1")) == TWO
    for repository, reference in (("app", "1"), ("", "@0")):
        with pytest.raises(Malformed, match=f"names '{MISSING}', which is missing"):
            read(path, repository, reference)

    async def listed(store: Store) -> list[str]:
        repositories = [name async for name in store.repositories()]
        return [f"{name}:{tag}" for name in repositories async for tag in store.repository(name).tags()]

    assert within(path, listed) == ["app:1", "other:2"]
    with pytest.raises(UsageError, match="has 2 images"):
        read(path, "", "")


def test_an_archive_with_a_damaged_image_is_not_written_again_without_it(tmp_path: Path) -> None:
    path = pair(tmp_path, ["app:1"], without=MISSING)
    before = path.read_bytes()

    async def scenario(store: Store) -> None:
        with pytest.raises(Malformed, match="missing"):
            store.lock()

    within(path, scenario)
    assert path.read_bytes() == before


def test_the_intact_image_of_an_archive_is_mirrored_and_the_other_one_is_reported(mirrorsync: Mirrorsync) -> None:
    """moby#49473: docker saves images whose layers it does not have."""
    pair(mirrorsync.directory, ["app:1"], without=MISSING)
    mirrors = [{"from": f"docker-archive:pair.tar:{name}", "tags": {"all": True}} for name in ("app", "other")]
    mirrorsync.spec({"destinations": {"x": "oci:out"}, "mirrors": mirrors})
    done = mirrorsync("apply", code=3)
    assert f"'{MISSING}', which is missing" in done.err
    assert list(names_of(mirrorsync.directory / "out")) == ["other:2"]


def test_links_repeated_members_and_files_of_other_programs_are_read_over(tmp_path: Path) -> None:
    """Hard links of bazel's rules (rules_oci#805), appended members (rules_docker#1420), Finder's files (buf#2504)."""
    foreign = [(name, b"x") for name in ("._manifest.json", ".DS_Store", "README.txt", "run.sh", "index.json.lock")]
    members = by_containers_image(ONE, NAMES)
    path = tarball(tmp_path / "a.tar", [*foreign, ("manifest.json", b"[]"), *members[1:], members[-1]])
    layer = members[0]
    assert isinstance(layer[1], bytes)
    with tarfile.open(path, "a") as archive:
        for info in (tarfile.TarInfo("copy"), tarfile.TarInfo(layer[0])):
            info.type = tarfile.REGTYPE if info.name == "copy" else tarfile.LNKTYPE
            info.size, info.linkname = (len(layer[1]), "") if info.name == "copy" else (0, "./copy")
            archive.addfile(info, io.BytesIO(layer[1]))
    assert plain(read(path)) == ONE


def test_the_order_of_members_does_not_change_the_image(tmp_path: Path) -> None:
    members = by_containers_image(ONE, NAMES)
    one, other = tarball(tmp_path / "1.tar", members), tarball(tmp_path / "2.tar", members[::-1])
    assert read(one)[0].raw == read(other)[0].raw
