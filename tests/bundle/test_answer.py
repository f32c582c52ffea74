"""Answer codes: what is lacking comes back as it was, and a mistake in copying is found, with its group."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from mirrorsync.bundle.answer import answer_code, listed, read_answer
from mirrorsync.bundle.model import Assumed, Bundle, Object, Whole
from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest

DOCUMENT = Digest.of(b"document")


def content(name: str) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(name.encode()), 1)


BUNDLE = Bundle(
    "shop", 300, "2026-11-26T03:17:00Z", "ab" * 32, None, Digest.of(b"spec"), None, (), None, "mirrorsync",
    (),
    tuple(Object(content(f"object {number}"), False, ("a",), (), Whole((1,))) for number in range(8)),
    tuple(Assumed(content(f"assumed {number}"), False, ("a",), number // 10) for number in range(200)),
    (),
)  # fmt: skip
NAMES = listed(BUNDLE)


@pytest.mark.parametrize(
    "lacking",
    [(), NAMES, NAMES[:1], NAMES[-1:], NAMES[30:50], (*NAMES[30:50], *NAMES[199:204]), NAMES[::7]],
    ids=len,
)
def test_what_is_lacking_comes_back(lacking: tuple[Digest, ...]) -> None:
    code = answer_code(BUNDLE, DOCUMENT, lacking)
    assert read_answer(code).lacking(BUNDLE, DOCUMENT) == frozenset(lacking)
    as_copied = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert read_answer(f"  {as_copied}\n") == read_answer(code)


def test_a_lost_bundle_is_a_short_code() -> None:
    code = answer_code(BUNDLE, DOCUMENT, NAMES[30:40])
    assert len(code) <= 30
    assert all(len(group) == 5 for group in code.split("-")[:-1])


def test_every_wrong_letter_is_found_with_its_group() -> None:
    code = answer_code(BUNDLE, DOCUMENT, NAMES[30:50])
    tried = 0
    for place, letter in itertools.product(range(len(code)), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"):
        if code[place] in ("-", letter):
            continue
        with pytest.raises(GrammarError, match=f"group {code[:place].count('-') + 1} of the code"):
            read_answer(code[:place] + letter + code[place + 1 :])
        tried += 1
    assert tried > 500


def test_swapped_lost_and_repeated_groups_are_found() -> None:
    groups = answer_code(BUNDLE, DOCUMENT, NAMES[::9]).split("-")
    for first, second in itertools.combinations(range(len(groups)), 2):
        swapped = list(groups)
        swapped[first], swapped[second] = groups[second], groups[first]
        if swapped != groups:
            with pytest.raises(GrammarError):
                read_answer("-".join(swapped))
    for number in range(len(groups)):
        with pytest.raises(GrammarError):
            read_answer("-".join(groups[:number] + groups[number + 1 :]))
        with pytest.raises(GrammarError):
            read_answer("-".join(groups[: number + 1] + groups[number:]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("-", "is empty"),
        ("U", "'U' is not a letter"),
        ("hello!", "'!' is not a letter"),
        ("ABCDE", "has a mistake"),
        ("0" * 10_000, "is too long"),
    ],
)
def test_what_is_not_a_code_is_rejected(text: str, told: str) -> None:
    with pytest.raises(GrammarError, match=told):
        read_answer(text)


def test_a_code_of_another_bundle_is_refused() -> None:
    answer = read_answer(answer_code(BUNDLE, DOCUMENT, NAMES[:3]))
    for other in (replace(BUNDLE, sequence=301), replace(BUNDLE, chain="cd" * 32)):
        with pytest.raises(UsageError, match="about another bundle"):
            answer.lacking(other, DOCUMENT)
    with pytest.raises(UsageError, match="about another bundle"):
        answer.lacking(BUNDLE, Digest.of(b"another document"))


def test_too_much_here_and_there_needs_an_inventory() -> None:
    objects = tuple(Object(content(f"many {number}"), False, ("a",), (), Whole((1,))) for number in range(6000))
    many = replace(BUNDLE, objects=objects)
    with pytest.raises(UsageError, match="too much is lacking"):
        answer_code(many, DOCUMENT, listed(many)[::2])
