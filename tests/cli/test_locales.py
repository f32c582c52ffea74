"""Paths with letters that the locale's encoding does not have, and locales that are not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run

LOCALES = {"C": "", "POSIX": "", "en_US.ISO-8859-1": "ISO-8859-1", "ja_JP.EUC-JP": "EUC-JP", "not_INSTALLED.KOI8-R": ""}


@pytest.mark.parametrize("locale", LOCALES)
def test_a_path_in_katakana_is_read_and_written_in_every_locale(
    mirrorsync: Mirrorsync, tmp_path: Path, locale: str
) -> None:
    if LOCALES[locale]:
        run("localedef", "-i", locale.partition(".")[0], "-f", LOCALES[locale], tmp_path / locale)
    variables = {"LC_ALL": locale, "LOCPATH": str(tmp_path)}
    write_layout(tmp_path / "カタカナ/元", {"app:1": image([layer({"a": b"1"})])})
    words = ("copy", "oci:カタカナ/元:app:1", "oci-archive:カタカナ/新.tar")
    mirrorsync(*words, env=variables, code=0)
    assert (tmp_path / "カタカナ/新.tar").exists()
    assert mirrorsync("list-tags", "oci-archive:カタカナ/新.tar", env=variables, code=0).out == "app:1\n"
    mirrors = [{"from": "oci:カタカナ/元", "tags": {"all": True}}]
    mirrorsync.spec({"destinations": {"disk": "oci:カタカナ/先"}, "mirrors": mirrors}, "カタカナ.yaml")
    mirrorsync("apply", "カタカナ.yaml", env=variables, code=0)
    done = mirrorsync("inspect", "oci:カタカナ/無:app:1", env=variables, code=1)
    assert "Traceback" not in done.err
    assert "カタカナ/無" in done.err
