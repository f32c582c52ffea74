"""Answer codes as people see them: one line, and a QR code that fits a terminal of 80 columns."""

from __future__ import annotations

import segno

from mirrorsync.cli.output.answers import code_lines
from tests.parts.bundles import pack
from tests.parts.images import image, layer
from tests.parts.mirrorsync import Mirrorsync

CODE = "066S9-0KBCZ-04002-653Q4-NMZ"


def test_a_qr_code_is_drawn_with_every_module_and_a_quiet_zone() -> None:
    drawn, line = code_lines(CODE * 20, qr=True)
    assert line == f"answer code: {CODE * 20}"
    rows = drawn.splitlines()
    assert max(map(len, rows)) <= 80
    light = [[letter in pair for letter in row] for row in rows for pair in ("█▀", "█▄")]
    wanted = [[not module for module in row] for row in segno.make_qr(CODE * 20, error="l").matrix_iter(border=4)]
    assert light[: len(wanted)] == wanted


def test_a_code_that_is_too_long_for_a_screen_is_only_a_line() -> None:
    assert list(code_lines(CODE * 30, qr=True)) == [
        "the answer code is too long for a QR code on a screen",
        f"answer code: {CODE * 30}",
    ]
    assert list(code_lines("", qr=True)) == []


def test_apply_and_answer_print_the_same_code_until_nothing_is_missing(mirrorsync: Mirrorsync) -> None:
    packed = pack({"app:1": image([layer({"a": b"1" * 3000})]), "app:2": image([layer({"b": b"2"})])}, part_size=600)
    packed.write(mirrorsync.directory / "usb", {1})
    applied = mirrorsync("bundle", "apply", "usb", "--to", "oci:disk", code=3).out.splitlines()
    answered = mirrorsync("bundle", "answer", "usb", "--to", "oci:disk", code=3).out.splitlines()
    assert applied[-1] == answered[-1]
    assert answered[-1].startswith("answer code: ")
    assert "█" not in "".join([*applied, *answered])
    assert "█▀" in mirrorsync("bundle", "answer", "usb", "--to", "oci:disk", "--qr", code=3).out
    packed.write(mirrorsync.directory / "usb")
    mirrorsync("bundle", "apply", "usb", "--to", "oci:disk", code=0)
    whole = mirrorsync("bundle", "answer", "usb", "--to", "oci:disk", code=0)
    assert whole.out == f"nothing is missing: oci:{mirrorsync.directory}/disk has all that shop-000001 needs\n"
    assert mirrorsync("bundle", "answer", "usb", "--to", "oci:disk", "--quiet", code=0).out == ""
    refused = mirrorsync("bundle", "answer", "none", "--to", "oci:disk", code=1)
    assert "does not exist" in refused.err
