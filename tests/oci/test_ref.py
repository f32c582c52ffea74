"""Refs: a tag, a digest or a pick, each valid by its type, and read from text by one parser."""

from __future__ import annotations

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Ref, Tag, parse_ref, ref_type, written
from mirrorsync.oci.reference import Location, Reference

A = Digest.of(b"a")


@pytest.mark.parametrize("tag", ["1", "_", "v1.0-rc_1", "A" * 128, "sha256", "sha256-0"])
def test_a_tag_by_the_grammar_is_a_tag(tag: str) -> None:
    assert Tag(tag) == tag
    assert type(parse_ref(tag)) is Tag


@pytest.mark.parametrize(
    "tag", ["", ".", "..", "-", ".a", "-a", "a/b", "../a", "a:b", "a b", "a\n", "a\0", "é", "A" * 129, "@0", A]
)
def test_an_invalid_tag_is_rejected(tag: str) -> None:
    with pytest.raises(GrammarError, match="is not a tag"):
        Tag(tag)


def test_a_tag_is_not_checked_twice() -> None:
    tag = Tag("1")
    assert Tag(tag) is tag


@pytest.mark.parametrize(
    ("text", "position", "id_digits"),
    [
        ("", None, None),
        ("@0", 0, None),
        ("@99999", 99999, None),
        ("@sha256:0123456789ab", None, "0123456789ab"),
        (f"@{A}", None, A.encoded),
    ],
)
def test_a_pick_is_the_only_image_a_number_or_an_id(text: str, position: int | None, id_digits: str | None) -> None:
    pick = parse_ref(text)
    assert isinstance(pick, Pick)
    assert (pick, pick.position, pick.id_digits) == (text, position, id_digits)
    assert (pick == THE_ONLY_ONE) is (position is None and id_digits is None)
    if position is not None:
        assert Pick.at(position) == pick
    if id_digits is not None:
        assert Pick.by_id(id_digits) == pick


@pytest.mark.parametrize(
    "text",
    ["@", "@-1", "@123456", "@٣", "@1\n", "@a", "@sha256:", "@sha256:0123", f"@{A}0", "@sha512:" + "0" * 64, "1"],
)
def test_an_invalid_pick_is_rejected(text: str) -> None:
    with pytest.raises(GrammarError, match="does not pick an image"):
        Pick(text)


@pytest.mark.parametrize("text", ["a b", "sha256:0", "a:b", "@x", "..", "A" * 129])
def test_an_invalid_ref_is_rejected_with_a_remedy(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_ref(text)
    assert caught.value.remedy


@pytest.mark.parametrize("ref", [Tag("1.0"), A, THE_ONLY_ONE, Pick.at(3), Pick.by_id("0123456789ab")])
def test_a_written_ref_is_read_as_the_same_type(ref: Ref) -> None:
    read = parse_ref(str(ref))
    assert read == ref
    assert type(read) is type(ref) is ref_type(ref)


@pytest.mark.parametrize(
    ("store", "repository", "ref", "text"),
    [
        ("h:5000", "a/b", Tag("1"), "h:5000/a/b:1"),
        ("h:5000", "a/b", A, f"h:5000/a/b@{A}"),
        ("oci:/m", "a", Tag("1"), "oci:/m:a:1"),
        ("oci:/m", "", Tag("1"), "oci:/m:1"),
        ("oci:/m", "", A, f"oci:/m:@{A}"),
        ("oci:/m", "", THE_ONLY_ONE, "oci:/m"),
        ("docker-archive:/m/a.tar", "", Pick.at(0), "docker-archive:/m/a.tar:@0"),
        ("docker-daemon:", "", Pick.by_id("0123456789ab"), "docker-daemon:@sha256:0123456789ab"),
        ("docker-daemon:", "app", Tag("1"), "docker-daemon:app:1"),
        ("dir:/m", "", THE_ONLY_ONE, "dir:/m"),
    ],
)
def test_an_image_is_written_as_people_write_it(store: str, repository: str, ref: Ref, text: str) -> None:
    location = Location(store, repository)
    assert str(Reference.of(location, ref)) == text
    assert str(location.at(ref)) == text
    assert Reference.of(location, ref).asked == ref
    assert text.endswith(written(repository, ref))
