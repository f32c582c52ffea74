"""The document of a bundle: written in one spelling, and read with every lie in it found."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from mirrorsync.bundle.encoding import canonical, encode, to_json, tree_digest
from mirrorsync.bundle.layout import END, header, index_json, layout, padding
from mirrorsync.bundle.model import Names
from mirrorsync.bundle.reading import parse
from mirrorsync.errors import Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.digest import Digest
from tests.bundle.values import CONTENT, LOCK, MANIFEST, OTHER, UNCHANGED, blob, example

DIGEST = "sha256:" + "a" * 64


def test_a_document_is_read_as_it_was_written() -> None:
    bundle = example()
    raw = encode(bundle)
    assert parse(raw) == bundle
    assert (
        raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    )


def test_canonical_json_has_one_spelling() -> None:
    assert canonical({"ü": [1, None, True], "a": "/<é\n"}) == '{"a":"/<é\\n","ü":[1,null,true]}\n'.encode()


def test_the_digest_of_a_part_is_that_of_its_list_of_members() -> None:
    part = example().parts[0]
    listed = [{"name": one.name, "size": one.size, "digest": str(one.digest)} for one in part.members]
    assert part.digest == tree_digest(part.members) == Digest.of(canonical(listed))


@pytest.mark.parametrize("parts", [1, 12, 1000])
def test_the_names_of_the_files_sort_by_their_numbers(parts: int) -> None:
    names = Names("shop-000007", parts)
    assert names.part(1) == f"shop-000007.001of{parts:03d}.tar"
    assert (names.document, names.signature(), names.signature(2), names.checksums) == (
        "shop-000007.json",
        "shop-000007.json.sig",
        "shop-000007.json.2.sig",
        "shop-000007.sha256",
    )


def content_of(member: str) -> bytes:
    """Return the content of a member of the example."""
    by_digest = {Digest.of(raw).encoded: raw for raw in (*CONTENT.values(), MANIFEST, OTHER, UNCHANGED)}
    _, _, name = member.rpartition("/")
    if member.startswith("site/"):
        return LOCK
    if member.startswith("deltas/"):
        return CONTENT["first"]
    if member.startswith("pieces/"):
        large = by_digest[name.partition(".")[0]]
        return large[:1000] if name.endswith(".000001") else large[1000:]
    return by_digest[name]


@pytest.mark.parametrize("number", [1, 2])
def test_the_layout_of_a_part_is_what_tar_reads(number: int) -> None:
    bundle = example()
    document = encode(bundle)
    places = layout(bundle, number, document, [b"first", b"second"])
    written = b"".join(
        entry.header + data + padding(entry.member.size)
        for entry in places.entries
        for data in [entry.data if entry.data is not None else content_of(entry.member.name)]
    )
    written += END
    assert len(written) == places.size
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        found = archive.getmembers()
        for info, entry in zip(found, places.entries, strict=True):
            assert (info.name, info.size, info.offset, info.offset_data) == (
                entry.member.name,
                entry.member.size,
                entry.offset,
                entry.start,
            )
            read = archive.extractfile(info)
            assert read is not None
            assert Digest.of(read.read()) == entry.member.digest
        assert {(info.mode, info.uid, info.gid, info.mtime, info.uname) for info in found} == {(0o644, 0, 0, 0, "")}
    assert [info.name for info in found][:5] == [
        "oci-layout",
        "mirrorsync-bundle.json",
        "mirrorsync-bundle.json.sig",
        "mirrorsync-bundle.json.2.sig",
        "index.json",
    ]
    start = places.entries[4].offset
    assert bundle.parts[number - 1].body == places.size - start


def test_the_index_of_a_part_lists_the_images_that_are_whole_in_it() -> None:
    bundle = example()
    named = [
        [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in json.loads(index)["manifests"]]
        for index in (index_json(bundle, 1), index_json(bundle, 2))
    ]
    assert named == [[], ["other:1"]]


@pytest.mark.parametrize(("name", "size"), [("blobs/sha512/" + "a" * 128, 5), ("blobs/sha256/x", 9 * 2**30)])
def test_headers_hold_long_names_and_large_sizes(name: str, size: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(header(name, size)), errorlevel=0) as archive:
        found = archive.next()
    assert found is not None
    assert (found.name, found.size) == (name, size)


def find(document: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return the object with a digest."""
    found: dict[str, Any] = next(one for one in document["objects"] if one["digest"] == digest)
    return found


LARGE = str(blob("large").digest)
SMALL = str(blob("small").digest)
REBUILT = str(blob("delta").digest)
WEB = str(Digest.of(MANIFEST))


def _many_names(document: dict[str, Any]) -> None:
    """Put a manifest with 1100 tags into 9999 parts: the index.json of each would name all of them."""
    (image,) = (one for one in document["images"] if one.get("tag") == "1.0")
    document["images"] += [{**image, "tag": f"1.{number:04d}"} for number in range(1100)]
    find(document, WEB)["parts"] = list(range(1, 10_000))
    document["parts"] = [{**document["parts"][0], "members": []}] * 9999


# What is done to the example's document, and a word of the message.
LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda d: d.update(format="x"), "/format"),
    "a later version": (lambda d: d.update(version=2), "/version: this version of mirrorsync reads version 1"),
    "a version that is true": (lambda d: d.update(version=True), "/version"),
    "a member more": (lambda d: d.update(more=1), "/more: unknown member"),
    "a member less": (lambda d: d.pop("site"), "/site: missing"),
    "a name with a slash": (lambda d: d.update(name="../x"), "/name"),
    "sequence 0": (lambda d: d.update(sequence=0), "/sequence"),
    "a time of another form": (lambda d: d.update(created="yesterday"), "/created"),
    "a short link": (lambda d: d.update(link="ab"), "/link"),
    "a destination of two lines": (lambda d: d.update(destination="a\nb"), "/destination"),
    "an unknown kind of have": (lambda d: d["have"][0].update(kind="x"), "/have/0/kind"),
    "a digest that is none": (lambda d: d["objects"][0].update(digest="sha256:../x"), "/objects/0/digest"),
    "a negative size": (lambda d: d["objects"][0].update(size=-1), "/objects/0/size"),
    "a size that is true": (lambda d: d["objects"][0].update(size=True), "/objects/0/size"),
    "a tag that is a path": (lambda d: d["images"][0].update(tag="../x"), "/images/0/tag"),
    "a repository that is a path": (lambda d: d["images"][0].update(repository="../x"), "/images/0/repository"),
    "images not sorted": (lambda d: d["images"].reverse(), "/images/1: not sorted"),
    "objects not sorted": (lambda d: d["objects"].reverse(), "/objects/1: not sorted"),
    "an object twice": (lambda d: d["objects"].insert(0, d["objects"][0]), "/objects/1: not sorted, or listed twice"),
    "assumes not sorted": (lambda d: d["assumes"].reverse(), "/assumes/1: not sorted"),
    "a tag twice": (
        lambda d: d["images"].insert(1, {**d["images"][0], "digest": DIGEST[:-1] + "f"}),
        "/images/",
    ),
    "an image without its manifest": (lambda d: d["images"][0].update(digest=DIGEST), "/images/0/digest"),
    "an image of another size": (lambda d: d["images"][0].update(size=1), "/images/0: size or media type differ"),
    "an image of a repository more": (lambda d: d["images"][0].update(repository="another"), "/images/0/repository"),
    "platforms of a single image": (lambda d: d["images"][0].update(platforms=["linux/amd64"]), "/images/0/platforms"),
    "no platforms": (
        lambda d: d["images"][0].update(platforms=[], mediaType=media_types.OCI_INDEX),
        "/images/0/platforms",
    ),
    "a platform of one word": (lambda d: d["images"][0].update(platforms=["linux"]), "/images/0/platforms/0"),
    "an object for no repository": (lambda d: d["objects"][0].update(repositories=[]), "/repositories: empty"),
    "a need that is not known": (lambda d: find(d, WEB)["needs"].append(DIGEST), "/needs/4: is neither"),
    "a manifest that needs itself": (lambda d: find(d, WEB)["needs"].append(WEB), "/needs/4: is neither"),
    "a need twice": (lambda d: find(d, WEB)["needs"].append(SMALL), "/needs/4: is there twice"),
    "needs of a blob": (lambda d: find(d, SMALL).update(needs=[]), "/needs: only a manifest has needs"),
    "two forms": (lambda d: find(d, SMALL).update(pieces=[]), "must have one of parts, pieces and delta"),
    "no form": (lambda d: find(d, SMALL).pop("parts"), "must have one of parts, pieces and delta"),
    "a blob in two parts": (lambda d: find(d, SMALL).update(parts=[1, 2]), "/parts: a blob is in one part"),
    "a blob in no part": (lambda d: find(d, SMALL).update(parts=[]), "/parts: empty"),
    "a blob in part 3 of 2": (lambda d: find(d, SMALL).update(parts=[3]), "/parts: there are only 2 parts"),
    "a blob in another part": (lambda d: find(d, SMALL).update(parts=[2]), "/parts/0/members"),
    "a manifest that is in one part more": (lambda d: find(d, WEB).update(parts=[1]), "/parts/1/members"),
    "pieces that are less than the blob": (
        lambda d: find(d, LARGE)["pieces"][1].update(size=1),
        "/pieces: are not all of the blob",
    ),
    "one piece": (lambda d: find(d, LARGE)["pieces"].pop(), "/pieces: are not all of the blob"),
    "pieces in disorder": (lambda d: find(d, LARGE)["pieces"].reverse(), "/pieces/1: not sorted"),
    "a delta against itself": (lambda d: find(d, REBUILT)["delta"].update(base=REBUILT), "/delta/base"),
    "a delta against a manifest": (lambda d: find(d, REBUILT)["delta"].update(base=WEB), "/delta/base"),
    "a delta against nothing": (lambda d: find(d, REBUILT)["delta"].update(base=DIGEST), "/delta/base"),
    "an object that is assumed, too": (
        lambda d: d["assumes"][0].update(digest=SMALL),
        "is assumed at the far side, too",
    ),
    "no parts": (lambda d: d.update(parts=[]), "there are only 0 parts"),
    "a part with the name of another": (lambda d: d["parts"][0].update(name=d["parts"][1]["name"]), "/parts/0/name"),
    "a part with another digest": (lambda d: d["parts"][0].update(digest=DIGEST), "/parts/0/digest"),
    "a part of another size": (lambda d: d["parts"][0].update(body=512), "/parts/0/body"),
    "a member that is no object": (
        lambda d: d["parts"][0]["members"].append({"name": "blobs/sha256/x", "size": 1, "digest": DIGEST}),
        "/parts/0/members/5: not a member of an object",
    ),
    "a member twice": (
        lambda d: d["parts"][0]["members"].append(d["parts"][0]["members"][-1]),
        "/parts/0/members/5: not a member of an object, or listed twice",
    ),
    "a member less in a part": (lambda d: d["parts"][0]["members"].pop(), "is missing"),
    "a member of another size": (lambda d: d["parts"][0]["members"][-1].update(size=1), "/parts/0/members/4"),
    "a manifest behind its blobs": (
        lambda d: d["parts"][0]["members"].append(d["parts"][0]["members"].pop(1)),
        "/parts/0/members/4: a manifest after other content",
    ),
    "names in too many parts": (_many_names, "/parts: too many images in them"),
    "a file of the site that leads out": (lambda d: d["site"][0].update(name="site/../x"), "/site/0"),
    "a file of the site that is not in part 1": (lambda d: d.update(site=[]), "/parts/0/members/0"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_document_that_lies_is_rejected_with_the_place(lie: str) -> None:
    change, word = LIES[lie]
    document = copy.deepcopy(to_json(example()))
    change(document)
    with pytest.raises(Malformed) as found:
        parse(canonical(document))
    assert word in found.value.message
    assert ("as new as the one that made it" in found.value.remedy) == ("version" in lie)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[" + b"[]," * 5_000_000 + b"[]]", "more than is read"),
        (b"[]\n", "not an object"),
        (encode(example()) + b"\n", "not canonical JSON"),
        (encode(example()).replace(b'"site":', b'"site": '), "not canonical JSON"),
        (encode(example()).replace(b'"version":1}', b'"version":1,"version":1}'), "not canonical JSON"),
        (encode(example()).replace(b'"tool":"mirrorsync 0.9"', b'"tool":"\\ud800"'), "/tool: not one line of text"),
    ],
    ids=["empty", "not UTF-8", "deep", "a bomb", "a list", "a line more", "a space", "a member twice", "half a pair"],
)
def test_text_that_is_not_the_one_spelling_of_a_document_is_rejected(raw: bytes, word: str) -> None:
    with pytest.raises(Malformed) as found:
        parse(raw)
    assert word in found.value.message
