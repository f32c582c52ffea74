"""Answer codes as people see them: one line, and a QR code that fits a terminal of 80 columns."""

from __future__ import annotations

import asyncio
import json
import shutil

import segno

from mirrorsync.cli.output.answers import code_lines
from mirrorsync.environment import Environment
from mirrorsync.stores.open import opener
from tests.parts.bundles import pack
from tests.parts.images import image, layer, noise, write_layout
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


def test_a_code_goes_back_through_the_command_line_and_one_bundle_repairs_the_loss(mirrorsync: Mirrorsync) -> None:
    directory, images = mirrorsync.directory, {f"app:{number}": image([noise(f"{number}", 900)]) for number in range(3)}
    mirrorsync.spec(
        {
            "destinations": {"corp": "oci:disk"},
            "mirrors": [{"from": "oci:source:app", "tags": {"all": True}, "to": ["corp"]}],
        }
    )
    for number, have in enumerate(((), ("--have", "sent"), ("--have", "sent"))):
        shutil.rmtree(directory / "source", ignore_errors=True)
        write_layout(directory / "source", dict(list(images.items())[: number + 1]))
        mirrorsync("bundle", "create", "--output", f"usb{number}", *have, code=0)
    mirrorsync("bundle", "apply", "usb0", "--to", "oci:disk", code=0)
    said = mirrorsync("bundle", "apply", "usb2", "--to", "oci:disk", code=3)  # usb1 was lost
    assert "bundle 2 of this sender was not applied" in said.err
    code = said.out.rpartition("answer code: ")[2].strip()
    typed = code.lower().replace("-", "")
    wrong = f"{typed[:-1]}{'1' if typed[-1] == '0' else '0'}"
    refused = mirrorsync("bundle", "create", "--output", "again", "--answer", wrong, code=2)
    assert "group" in refused.err
    assert not (directory / "again").exists()
    mirrorsync("bundle", "create", "--output", "again", "--answer", typed, code=0)
    document = json.loads((directory / "again/mirror-000004.json").read_bytes())
    assert document["answers"]["sequence"] == 3
    lost = images["app:1"]
    assert {one["digest"] for one in document["objects"]} == {lost.digest, *lost.blobs} - set(images["app:0"].blobs)
    mirrorsync("bundle", "apply", "again", "--to", "oci:disk", code=0)
    busy = opener(Environment())(f"oci:{directory}/busy")
    busy.lock()
    mirrorsync("bundle", "apply", "again", "--to", "oci:busy", code=6)
    asyncio.run(busy.close())
    lines = mirrorsync("history", "--imports", code=0).out.splitlines()
    shown = [line[18:].rpartition("  ")[0].rpartition("  ")[0] for line in lines]  # without times and bytes
    disk, at = f"oci:{directory}/disk", f"oci:{directory}/busy"
    assert shown == [
        f"ok       mirror-000001 to {disk}: 1 done",
        f"partly   mirror-000003 to {disk}: 1 delayed, 1 done, 1 unchanged",
        f"ok       mirror-000004 to {disk}: 1 done, 2 unchanged",
        f"failed   mirror-000004 to {at}: destination {at}: another run is working on {directory}/busy",
    ]
    document = mirrorsync("history", "--imports", "-n", "3", "--json", code=0).json()
    assert [(one["exit_code"], bool(one["error"])) for one in document["imports"]] == [
        (6, True),
        (0, False),
        (3, False),
    ]
    (file,) = directory.rglob("imports.jsonl")
    began = next(line for line in file.read_text().splitlines(keepends=True) if '"finished": null' in line)
    file.write_text(began)
    killed = f"no end   mirror-000001 to {disk}: it was killed, or is still running"
    assert mirrorsync("history", "--imports", code=0).out[18:] == f"{killed}\n"
