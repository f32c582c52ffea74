"""What `referrers:` says of images that lack one, and how its words are read."""

from __future__ import annotations

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.referrer_types import ReferrerType
from mirrorsync.plan.policies import Decision, Facts, Referrers

NEW = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"new"), 1)
LISTED = (ReferrerType("sbom", "application/spdx+json"), ReferrerType("sbom", "a/b"), ReferrerType("other"))
PUBLISH = "have it published with the image, or take it out of require: under referrers:"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "referrers: they could not be listed"),
        ((), "referrers: it lacks signature and a/*; it has no referrers"),
        (LISTED[::2], "referrers: it lacks signature and a/*; it has sbom, other"),
        (LISTED, "referrers: it lacks signature; it has sbom, other"),
        ((ReferrerType("other", f"x/{'y' * 250}"),), f"referrers: it lacks signature and a/*; it has x/{'y' * 198}..."),
    ],
)
def test_what_referrers_says(found: tuple[ReferrerType, ...] | None, said: str) -> None:
    policy = Referrers.parse({"require": ["signature", "a/*"]})
    decision = policy.decide(Facts(Tag("1"), None, NEW, referrers=found))
    assert decision == Decision("refuse", said, PUBLISH)


ANY_OF = "use signature, sbom, attestation, or a pattern on artifact types"


@pytest.mark.parametrize(
    ("word", "remedy"),
    [("sbmo", "did you mean sbom?"), ("Signature", "did you mean signature?"), ("SPDX", ANY_OF), ("cosign\n", ANY_OF)],
)
@pytest.mark.parametrize("key", ["types", "require"])
def test_a_word_that_is_no_kind_of_referrer_is_quoted_with_those_that_are(key: str, word: str, remedy: str) -> None:
    with pytest.raises(GrammarError) as caught:
        Referrers.parse({key: ["sbom", word]})
    shown = repr(word.replace("\n", "\\n"))
    assert (caught.value.message, caught.value.remedy) == (f"{shown} is not a kind of referrer", remedy)


@pytest.mark.parametrize("word", ["signature", "sbom", "attestation", "a/b", "x*", "x?", "[xy]"])
def test_a_kind_or_a_pattern_is_read_as_it_is_written(word: str) -> None:
    assert Referrers.parse({"types": [word], "require": [word]}) == Referrers((word,), (word,))


def test_referrers_without_members_are_all_of_them() -> None:
    assert Referrers.parse(True) == Referrers.parse({}) == Referrers((), ())
