"""Digests: always valid, and content is verified against them."""

from __future__ import annotations

import hashlib

import pytest

from mirrorsync.errors import ExitCode, GrammarError
from mirrorsync.oci.digest import Digest

HEX = hashlib.sha256(b"content").hexdigest()
LONG = hashlib.sha512(b"content").hexdigest()


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{LONG}"])
def test_a_digest_is_its_text_and_matches_only_its_content(text: str) -> None:
    digest = Digest(text)
    assert digest == text
    assert f"{digest.algorithm}:{digest.encoded}" == text
    assert digest.short == text[7:19]
    assert digest.matches(b"content")
    assert not digest.matches(b"contents")
    assert Digest.of(b"content", digest.algorithm) == digest
    hasher = digest.hasher()
    hasher.update(b"content")
    assert hasher.hexdigest() == digest.encoded


def test_sha256_is_the_default_algorithm() -> None:
    assert Digest.of(b"content") == f"sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256",
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}g",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"SHA256:{HEX}",
        f"sha512:{HEX}",
        f"sha256:{LONG}",
        f"sha384:{HEX}{HEX[:32]}",
        f"md5:{HEX[:32]}",
        f"sha256:{'٣' * 64}",
        f"sha256:../../{HEX[6:]}",
        f"sha256:{HEX}/../x",
        f"sha256+b64:{HEX}",
        f"sha256::{HEX}",
        f"sha256:{HEX}:sha256:{HEX}",
    ],
)
def test_an_invalid_digest_is_rejected_with_a_remedy(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        Digest(text)
    assert caught.value.remedy
    assert caught.value.exit_code is ExitCode.USAGE


def test_the_message_for_an_invalid_digest_is_short_and_printable() -> None:
    with pytest.raises(GrammarError) as caught:
        Digest("sha256:\x1b[31m\u202e\n" + "x" * 100_000)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()
