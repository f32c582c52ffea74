"""docs/coming-from-skopeo.md, row by row: skopeo's line with our name, and what the row says of it.

A row that says "same" is run by both, on equal images, and what they left and printed is compared; "write" likewise,
with the line that it says; "refused" ends with exit code 2, these words and nothing done; "spec" is applied.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.site import Site
from tests.cli.test_inspect import labelled
from tests.conftest import Locked
from tests.parts.images import multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, shell_path
from tests.parts.processes import run

PAGE = (Path(__file__).parents[2] / "docs/coming-from-skopeo.md").read_text("utf-8")
_ROW = re.compile(r"^\| `((?:[^`|]|\\\|)*skopeo (?:[^`|]|\\\|)*)` \| (\w+)(.*) \|$", re.MULTILINE)
_LOCAL = re.compile(r"(?:oci|oci-archive|dir|docker-archive):new\S*")


@dataclass(frozen=True)
class Row:
    """A row: skopeo's line, what becomes of it, and the words in backticks behind that."""

    line: str
    what: str
    words: str


def rows() -> list[Row]:
    found = []
    for line, what, rest in _ROW.findall(PAGE.replace("\\|", "\x00")):
        quoted = re.findall(r"`([^`]+)`", rest)
        words = quoted[0] if quoted else ""
        if what == "write" and words.startswith("echo"):
            words = rest.partition("`")[2].rpartition("`")[0]
        found.append(Row(line.replace("\x00", "|"), what, words.replace("\x00", "|")))
    return found


ROWS = rows()


@dataclass(frozen=True)
class Result:
    """What a line did: its exit code and output, and what is at the destination and in files afterwards."""

    code: int
    out: str
    err: str
    left: Any


class Bench:
    """A registry with images, and for each row and tool a directory with equal files, and a place of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._template = site.mirrorsync.directory / "template"
        self._numbers = itertools.count()
        app = labelled(Labels={"org.example.version": "1.2", "org.example.a": "<&>"})
        site.seed("hub/library/alpine:3.20", multi_platform("alpine"))
        site.seed("hub/library/alpine:3.19", multi_platform("older"))
        site.seed("quay/team/app:1", app)
        self._template.mkdir()
        layout = f"oci:{self._template}/layout:app:1"
        write_layout(self._template / "layout", {"app:1": app})
        run("skopeo", "copy", "-q", layout, f"docker-archive:{self._template}/saved.tar:app:1")
        run("skopeo", "copy", "-q", layout, f"dir:{self._template}/directory")
        shutil.copy(site.auth_file, self._template / "auth.json")
        (self._template / "certs").mkdir()
        (self._template / "certs/ca.crt").write_bytes(Path(str(site.registry.ca_file)).read_bytes())
        (self._template / "password").write_text(site.registry.password)
        (self._template / "manifest.json").write_bytes(app.raw)

    def place(self, line: str) -> str:
        """Return the name of a new place for a line: a directory, and a folder in the registry."""
        place = f"p{next(self._numbers)}"
        shutil.copytree(self._template, self.site.mirrorsync.directory / place)
        if "delete" in line:
            for tag in ("1", "stays"):
                self.site.seed(f"{place}/team/gone:{tag}", multi_platform(tag))
        return place

    def __call__(self, line: str, place: str) -> Result:
        """Run a line for the shell at a place."""
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {self.site.text(line, place)}"],
            cwd=self.site.mirrorsync.directory / place, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
            env=self.site.mirrorsync.environment({**self.site.environment, "PATH": shell_path()}),
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return Result(done.returncode, done.stdout, done.stderr, self.left(line, place))

    def left(self, line: str, place: str) -> Any:
        """Return what is at a place: images in the registry, JSON files, and the image `new`."""
        directory = self.site.mirrorsync.directory / place
        left: dict[str, Any] = {path.name: json.loads(path.read_text()) for path in directory.glob("*.json")}
        assert self.site.registry.server is not None
        registry = self.site.registry.server.storage / "docker/registry/v2"
        folder = registry / "repositories" / self.site.prefix.partition("/")[2] / place
        for link in folder.glob("**/tags/*/current/link"):
            name, _, tag = str(link.parent.parent.relative_to(folder)).partition("/_manifests/tags/")
            left[f"{name}:{tag}"] = link.read_text()
            if "docker-archive:saved" in line:  # it has no manifest, and each tool makes one of its own
                encoded = link.read_text().removeprefix("sha256:")
                manifest = json.loads((registry / "blobs/sha256" / encoded[:2] / encoded / "data").read_text())
                left[f"{name}:{tag}"] = manifest["config"]["digest"]
        if (directory / "digest.txt").exists():
            left["digest.txt"] = (directory / "digest.txt").read_text().strip()
        if (found := _LOCAL.search(line)) and list(directory.glob("new*")):
            left["new"] = self._image(directory, found[0])
        return left

    def _image(self, directory: Path, reference: str) -> Any:
        """Return what skopeo sees of an image in a directory or file."""
        scheme, _, rest = reference.partition(":")
        where = f"{scheme}:{directory}/{rest}"
        if scheme == "docker-archive":
            alone = f"{scheme}:{directory}/{rest.partition(':')[0]}"
            return json.loads(run("skopeo", "inspect", "--config", where)), run("skopeo", "list-tags", alone)
        return run("skopeo", "inspect", "--raw", where)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tls_registry: Locked) -> Bench:
    site = Site(Mirrorsync(tmp_path_factory.mktemp("bench")), tls_registry, "from-skopeo")
    site.login()
    return Bench(site)


def their_line(row: Row) -> str:
    """Return skopeo's line for the skopeo of Debian 12, which lacks options that change only the speed."""
    line = re.sub(r" --(retry-delay|image-parallel-copies) \S+", "", row.line)
    return re.sub(r" --format '{{json .\w+}}'", "", line)


def printed(row: Row, result: Result, place: str) -> Any:
    """Return what a line printed, in a form that both tools have in common."""
    verb = re.findall(
        r"(?:skopeo|mirrorsync)(?: --\S+(?: \w+)?)*? (inspect|list-tags|login|manifest-digest)\b", row.line
    )
    if not verb or (verb == ["login"] and "--get-login" not in row.line):
        return None  # what copy, delete and login print is for people
    text = result.out.replace(place, "PLACE")
    if "--config" in row.line and "--raw" not in row.line:
        # skopeo writes the config anew, with what it knows of it.
        document = json.loads(text)
        return {key: document.get(key) for key in ("created", "architecture", "os", "rootfs")}
    if named := re.search(r"{{json .(\w+)}}", row.line):
        # Debian's skopeo has no `json` in templates, and prints the whole document here.
        found = json.loads(text)
        return found[named[1]] if isinstance(found, dict) and "RepoTags" in found else found
    if text.startswith("{") and "--raw" not in row.line:
        # LayersData is in skopeo from 1.10 on. The order of names, and every byte of a list of tags, are skopeo's.
        found = json.loads(text)
        return [(key, value) for key, value in found.items() if key != "LayersData"] if "RepoTags" in found else text
    return text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line)
def test_a_row_of_the_page_of_skopeo_is_what_the_program_does(bench: Bench, row: Row) -> None:
    line, own = row.line.replace("skopeo ", "mirrorsync ", 1), bench.place(row.line)
    before = bench.left(line, own)
    if row.what == "refused":
        refused = bench(line, own)
        assert refused.code == 2
        assert row.words in refused.err
        assert (refused.out, refused.left) == ("", before)
        return
    if row.what == "spec":
        made = bench(line, own)
        assert (made.code, made.left) == (2, before)
        (bench.site.mirrorsync.directory / own / "mirror.yaml").write_text(made.out)
        assert "save it as mirror.yaml, and run: mirrorsync apply" in made.err
        line = "mirrorsync apply"
    elif row.what == "write":
        line = row.words
    else:
        assert row.what == "same"
    ours = bench(line, own)
    assert ours.code == 0, ours.err
    if "--scoped" in row.line:  # skopeo does not accept the port of this registry in the name that it makes
        (name,) = ours.left.keys() - before.keys()
        assert name == f"base/{bench.site.prefix.replace(':', '-')}/hub/library/alpine:3.20"
        return
    place = bench.place(row.line)
    theirs = bench(their_line(row), place)
    assert theirs.code == 0, theirs.err
    assert ours.left == theirs.left
    assert row.what == "spec" or printed(row, ours, own) == printed(row, theirs, place)


def test_the_page_has_the_rows_that_are_asked_for() -> None:
    assert len(ROWS) == len(re.findall(r"^\| `", PAGE, re.MULTILINE)) > 100
    assert {row.what for row in ROWS} == {"same", "write", "refused", "spec"}
