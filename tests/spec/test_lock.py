"""Locks as values: their text, what a damaged one is answered with, what differs, and a spec with a lock's images."""

from __future__ import annotations

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.problems import SpecError
from mirrorsync.spec.load import load
from mirrorsync.spec.lock import Lock, Name, changes, kept, lock_text
from mirrorsync.spec.lock_source import read_lock
from mirrorsync.spec.locked import locked
from mirrorsync.spec.model import Spec

ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))
APP = Location("corp.example:5000", "team/app")


def text_of(images: dict[Name, Digest], base: str = "") -> str:
    return "".join(lock_text(Lock(images), "spec", base))


def read_text(text: str | bytes) -> Lock:
    return read_lock(text.encode() if isinstance(text, str) else text, source="/w/mirror.lock", base="/w")


def spec_of(mirrors: str, more: str = "") -> Spec:
    text = f"version: 1\ndestinations: {{disk: 'oci:disk'}}\ndefaults: {{to: [disk]}}\n{more}mirrors:\n{mirrors}"
    return load(text.encode(), source="/w/mirror.yaml", environment={}, base="/w")


def test_a_lock_has_one_line_for_each_image_sorted_by_name() -> None:
    found = text_of({(APP, Tag("2.0")): TWO, (Location("a.example", "z"), Tag("1")): THREE, (APP, Tag("1.0")): ONE})
    assert [line for line in found.splitlines() if not line.startswith("#")] == [
        "lock: 1",
        "images:",
        f"  a.example/z:1: {THREE}",
        f"  corp.example:5000/team/app:1.0: {ONE}",
        f"  corp.example:5000/team/app:2.0: {TWO}",
    ]


@pytest.mark.parametrize(
    ("location", "ref"),
    [
        (APP, Tag("1.0")),
        (APP, ONE),
        (Location("[::1]:5000", "a/b"), Tag("1")),
        (Location("127.0.0.1:5000", "a"), Tag("1")),
        (Location("docker.io", "library/alpine"), Tag("3.20")),
        (Location("oci:/srv/a mirror", "app"), Tag("1")),
        (Location("oci:/srv/# 'x' \"y\" \\ é 語 😀", "app"), Tag("1")),
        (Location("oci:/w/disk", "app"), Tag("1")),
        (Location("oci:/w/disk", ""), Tag("app")),
        (Location("docker-archive:/srv/app.tar", ""), Pick("@3")),
        (Location("dir:/srv/app", ""), THE_ONLY_ONE),
        (Location("docker-daemon:", "app"), Tag("1")),
    ],
)
@pytest.mark.parametrize("base", ["", "/w"])
def test_every_name_is_read_as_it_was_written(location: Location, ref: Ref, base: str) -> None:
    assert read_text(text_of({(location, ref): ONE}, base)).images == {(location, ref): ONE}


def test_a_store_below_the_lock_is_written_by_its_path_from_there() -> None:
    assert "  oci:disk:app:1: sha256:" in text_of({(Location("oci:/w/disk", "app"), Tag("1")): ONE}, "/w")
    assert "  oci:/wide/disk:app:1: sha256:" in text_of({(Location("oci:/wide/disk", "app"), Tag("1")): ONE}, "/w")


def test_a_lock_without_images_can_be_read() -> None:
    assert read_text(text_of({})).images == {}


IMAGE = f"corp.example/app:1: {ONE}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: the file is empty"),
        ("mirrors: []\n", "1:1: this is not a lock of mirrorsync; write one with"),
        ("- a\n", "1:1: this is not a lock of mirrorsync"),
        ("lock: 2\nimages: {}\n", "1:7: /lock: another version of locks; this mirrorsync reads version 1"),
        ("lock: true\nimages: {}\n", "1:7: /lock: another version"),
        ("lock: 1\n", "/images: `images` is not a mapping; write NAME:TAG: DIGEST"),
        (f"lock: 1\nimages:\n  - {IMAGE}\n", "3:3: /images: `images` is not a mapping"),
        ("lock: 1\nimages: {}\nfoo: 1\n", "3:1: /foo: unknown key 'foo'; remove it"),
        (f"lock: 1\nimages:\n  {IMAGE}\n  {IMAGE}\n", "4:3: /images/corp.example~1app:1: duplicate key"),
        (
            f"lock: 1\nimages:\n  alpine:1: {ONE}\n  docker.io/library/alpine:1: {TWO}\n",
            "4:3: /images/docker.io~1library~1alpine:1: the same image as 'alpine:1'; keep one of the lines",
        ),
        ("lock: 1\nimages:\n  corp.example/app:1: 12\n", "3:3: /images/corp.example~1app:1: the value of"),
        ("lock: 1\nimages:\n  corp.example/app:1: sha256:12\n", "3:3: /images/corp.example~1app:1: "),
        (f"lock: 1\nimages:\n  corp.example/app: {ONE}\n", "is not one image; write NAME:TAG: DIGEST"),
        (f"lock: 1\nimages:\n  corp.example/app@{ONE}: {TWO}\n", "names another digest than its value"),
        (f"lock: 1\nimages:\n  corp.example/a:1@{ONE}: {ONE}\n", "is not one image"),
        (f"lock: 1\nimages:\n  ../app:1: {ONE}\n", "3:3: /images/..~1app:1: "),
        (
            f"lock: 1\nimages:\n<<<<<<< ours\n  {IMAGE}\n=======\n>>>>>>> theirs\n",
            "3: a merge conflict is not resolved; keep the lines that are right",
        ),
        ("lock: 1\nimages: &a {}\n", "anchors and aliases are not supported"),
        ("lock: 1\nimages: " + "[" * 100 + "\n", "nested deeper"),
        (b"lock: 1\nimages:\n  \xff: 1\n", "3: the file is not UTF-8"),
    ],
)
def test_a_damaged_lock_is_reported_with_its_line_and_a_remedy(text: str | bytes, says: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_text(text)
    assert f"/w/mirror.lock:{says}" in str(refused.value) or (not says[0].isdigit() and says in str(refused.value))


def test_all_wrong_lines_are_reported_together() -> None:
    with pytest.raises(SpecError) as refused:
        read_text(f"lock: 1\nimages:\n  corp.example/app: {ONE}\n  corp.example/app:2: x\n  {IMAGE}\n")
    assert [problem.line for problem in refused.value.problems] == [3, 4]


def test_the_digest_of_a_lock_is_that_of_its_bytes() -> None:
    text = text_of({(APP, Tag("1")): ONE})
    assert read_text(text).digest == Digest.of(text.encode())


def test_what_is_new_moved_and_gone_is_sorted_by_name() -> None:
    old = Lock({(APP, Tag("a")): ONE, (APP, Tag("b")): ONE, (APP, Tag("c")): ONE})
    new = Lock({(APP, Tag("d")): ONE, (APP, Tag("b")): TWO, (APP, Tag("c")): ONE})
    found = changes(old, new)
    assert [(one.ref, one.state) for one in found] == [("a", "gone"), ("b", "moved"), ("d", "new")]


def test_what_failed_is_kept_and_nothing_else() -> None:
    other, store = Location("corp.example:5000", "other"), Location("oci:/w/seed", "x")
    old = Lock({(APP, Tag("1")): ONE, (APP, Tag("2")): ONE, (other, Tag("1")): ONE, (store, Tag("1")): ONE})
    assert set(kept(old, [(APP, Tag("2"))])) == {(APP, "2")}
    assert set(kept(old, [(APP, None)])) == {(APP, "1"), (APP, "2")}
    assert set(kept(old, [(Location("oci:/w/seed", ""), None)])) == {(store, "1")}


def wanted(spec: Spec) -> dict[str, str]:
    return {
        f"{mirror.source.repository}:{one.tag}": str(one.ref)
        for mirror in spec.mirrors
        for one in mirror.selection.exact
    }


def test_filters_choose_from_the_tags_of_the_lock() -> None:
    spec = spec_of("  - {from: src.example/app, tags: {semver: '>=1', newest: 2}}\n")
    source = Location("src.example", "app")
    lock = Lock({(source, Tag(tag)): ONE for tag in ("0.9", "1.0", "1.1", "1.2", "edge")})
    found = locked(spec, lock)
    assert wanted(found) == {"app:1.2": ONE, "app:1.1": ONE}
    assert not any(mirror.selection.lists for mirror in found.mirrors)
    assert found.lacking == ()


def test_an_image_that_the_lock_lacks_is_named_and_one_that_no_mirror_wants_is_left_out() -> None:
    spec = spec_of("  - {from: src.example/app, tags: ['1', '2']}\n  - {from: src.example/b, tags: {glob: ['v*']}}\n")
    source, other = Location("src.example", "app"), Location("src.example", "b")
    found = locked(spec, Lock({(source, Tag("1")): ONE, (source, Tag("3")): TWO, (other, Tag("x")): ONE}))
    assert wanted(found) == {"app:1": ONE}
    assert [(str(one.source), one.ref) for one in found.lacking] == [("src.example/app", "2"), ("src.example/b", None)]


def test_a_filter_that_may_match_nothing_lacks_nothing() -> None:
    spec = spec_of("  - {from: src.example/b, tags: {glob: ['v*']}, allow_empty: true}\n")
    assert locked(spec, Lock({})).lacking == ()


def test_a_renamed_tag_and_a_digest_of_the_spec_are_locked_under_their_names_at_the_source() -> None:
    spec = spec_of(f"  - {{from: 'src.example/app:1', tag: stable}}\n  - 'src.example/app:2@{TWO}'\n")
    source = Location("src.example", "app")
    found = locked(spec, Lock({(source, Tag("1")): ONE, (source, TWO): TWO}))
    assert wanted(found) == {"app:stable": ONE, "app:2": TWO}
    assert locked(spec, Lock({(source, Tag("1")): ONE})).lacking[0].ref == TWO


def test_policies_about_time_and_change_do_not_hold_for_a_lock_and_immutable_does() -> None:
    spec = spec_of("  - {from: 'src.example/app:1', min_age: 3d, on_change: fail, immutable: ['*']}\n")
    (mirror,) = locked(spec, Lock({(Location("src.example", "app"), Tag("1")): ONE})).mirrors
    assert [type(policy).__name__ for policy in mirror.policies] == ["Immutable"]


def test_a_whole_store_is_a_mirror_for_each_of_its_repositories_in_the_lock() -> None:
    spec = spec_of("  - {from: 'oci:seed', tags: {all: true}}\n")
    a, b = Location("oci:/w/seed", "a"), Location("oci:/w/seed", "b")
    found = locked(spec, Lock({(a, Tag("1")): ONE, (b, Tag("1")): TWO}))
    assert [(mirror.pointer, mirror.source) for mirror in found.mirrors] == [("/mirrors/0", a), ("/mirrors/0", b)]
    assert wanted(found) == {"a:1": ONE, "b:1": TWO}
    assert [one.ref for one in locked(spec, Lock({})).lacking] == [None]
