"""What a browser and a monitor get from `mirrorsync serve`: the page with its images, and `/healthz`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mirrorsync.stores.layout import LayoutDirectoryStore
from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import Image, image, index, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Serve
from tests.parts.processes import run
from tests.parts.wire import Registry, Response, ask
from tests.serve.harness import InProcessServer, code_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ONE = image([layer({"etc/one": noise("one", 2_345_000)})])
TWO = multi_platform("two")


class Seen(HTMLParser):
    """A page as a browser reads it: the names of its elements and attributes, and its text."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if data.strip() else []

    @property
    def commands(self) -> list[str]:
        return [word for word in self.words if word.startswith("docker pull ")]

    def size(self, command: str) -> str:
        """Return the size beside a command."""
        return self.words[self.words.index(command) - 1]


def page(host: str, query: str = "", **headers: str) -> Seen:
    return Seen(ask("GET", f"http://{host}/{query}", headers=BROWSER | headers))


def stored(root: Image) -> float:
    """Return the megabytes of an image with all its manifests and blobs."""
    return (sum(len(one.raw) for one in root.manifests()) + sum(map(len, root.all_blobs().values()))) / 1e6


@pytest.fixture(params=["files", "chunks"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InProcessServer]:
    """A server with two repositories of three tags."""
    store = LayoutDirectoryStore(tmp_path / "layout") if request.param == "files" else MemoryStore()
    with InProcessServer(store) as server:
        for name, made, tag in (("app", ONE, "1.0"), ("library/web", TWO, "2"), ("library/web", ONE, "1")):
            Registry(server.host).push(name, made, tag)
        yield server


def test_a_browser_sees_repositories_tags_sizes_and_the_command_to_pull(server: InProcessServer) -> None:
    seen = page(server.host)
    assert seen.commands == [
        f"docker pull {server.host}/{name}" for name in ("app:1.0", "library/web:1", "library/web:2")
    ]
    assert {
        "app",
        "1.0",
        "library/web",
        "1",
        "2",
        "3 images in 2 repositories; pushes and deletes are accepted.",
    } <= set(seen.words)
    for command, made in zip(seen.commands, (ONE, ONE, TWO), strict=True):
        assert seen.size(command) == f"{stored(made):.1f} MB"


def test_the_name_in_the_command_is_one_that_can_be_pulled(server: InProcessServer) -> None:
    for command in page(server.host).commands:
        run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{command.removeprefix('docker pull ')}")


def test_only_a_browser_gets_the_page(server: InProcessServer) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = ask("GET", f"http://{server.host}/", headers=headers)
        assert (answer.status, code_of(answer)) == (404, "UNSUPPORTED")
    head = ask("HEAD", f"http://{server.host}/", headers=BROWSER)
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "' onfocus=alert(1) autofocus x='", "{host}{0}&lt;"])
def test_what_a_request_says_is_escaped(server: InProcessServer, text: str) -> None:
    sent = "".join(f"%{byte:02x}" for byte in text.encode())
    plain = page(server.host, "?find=app")
    for seen in (
        page(server.host, f"?find={sent}"),
        page(server.host, f"?after={sent}&find=app"),
        page(server.host, "?find=app", Host=text),
        page(server.host, "?find=app", **{"X-Forwarded-Proto": text}),
    ):
        assert set(seen.elements) <= set(plain.elements)
        assert {name for name, _ in seen.attributes} <= {name for name, _ in plain.attributes}
    assert ("value", text) in page(server.host, f"?find={sent}").attributes


@pytest.mark.parametrize("host", ["$(reboot)", "a;reboot", "a b", "a/b", "`id`:80", "[::1", ""])
def test_a_host_that_is_not_one_is_not_part_of_a_command(server: InProcessServer, host: str) -> None:
    assert page(server.host, Host=host).commands[0] == f"docker pull {server.host}/app:1.0"


@pytest.mark.parametrize(
    ("host", "proto", "named"),
    [
        ("mirror", "", "mirror:80"),  # docker would read mirror/app as Docker Hub's repository of that name
        ("mirror", "https", "mirror:443"),
        ("localhost", "", "localhost"),
        ("mirror.corp", "https", "mirror.corp"),
        ("mirror:5000", "", "mirror:5000"),
        ("[::1]:5000", "", "[::1]:5000"),
    ],
)
def test_the_command_has_the_host_by_which_the_server_is_reached(
    server: InProcessServer, host: str, proto: str, named: str
) -> None:
    seen = page(server.host, **{"Host": host, "X-Forwarded-Proto": proto})
    assert seen.commands[0] == f"docker pull {named}/app:1.0"
    assert any("--tls-verify=false" in word for word in seen.words) == (proto != "https")


def test_the_page_runs_no_script_and_loads_nothing(server: InProcessServer) -> None:
    answer = ask("GET", f"http://{server.host}/", headers=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    style = re.search(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    assert style is not None
    # Otherwise a browser would drop our own style.
    assert policy["style-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'"
    assert {"script", "link", "img", "iframe"}.isdisjoint(Seen(answer).elements)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_many_images_are_shown_in_pages_and_found_by_a_part_of_their_name(tmp_path: Path) -> None:
    names = [f"app{repository}:{tag}" for repository in range(5) for tag in range(51)]
    write_layout(tmp_path / "layout", dict.fromkeys(names, ONE))
    with Serve(tmp_path / "layout", writable=False) as server:
        query: str | None = ""
        found: list[str] = []
        pages = 0
        while query is not None:
            seen = page(server.host, query)
            assert "255 images in 5 repositories; read-only." in seen.words
            found, pages = [*found, *seen.commands], pages + 1
            query = next((value for name, value in seen.attributes if name == "href" and value), None)
        assert sorted(found) == sorted(f"docker pull {server.host}/{name}" for name in names)
        assert len(found) == len(names)
        assert pages == 3
        seen = page(server.host, "?find=APP3:4")
        assert seen.commands == [f"docker pull {server.host}/app3:{tag}" for tag in ("4", *range(40, 50))]
        assert "Found 11 images." in seen.words
        assert "Found 1 image." in page(server.host, "?find=app3:41").words
        assert page(server.host, "?find=none").commands == []


def test_an_image_that_cannot_be_pulled_is_named_so_and_hides_no_other(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    sparse = index([image([layer({"a": b"a"})]), ONE])
    damaged, missing = image([layer({"b": b"b"})]), image([layer({"c": b"c"})])
    images = {"app:sparse": sparse, "app:damaged": damaged, "app:missing": missing, "app:whole": ONE}
    write_layout(layout, images)
    for one, what in ((sparse.children[0], None), (missing, None), (damaged, bytes(len(damaged.raw)))):
        file = layout / "blobs/sha256" / one.digest.partition(":")[2]
        file.unlink() if what is None else file.write_bytes(what)
    with Serve(layout, writable=False) as server:
        seen = page(server.host)
        sizes = {command.rpartition(":")[2]: seen.size(command) for command in seen.commands}
        assert sizes == {"sparse": "2.3 MB", "damaged": "damaged", "missing": "missing", "whole": "2.3 MB"}


def test_a_repository_without_tags_is_shown(server: InProcessServer) -> None:
    Registry(server.host).push("untagged", TWO)
    seen = page(server.host)
    assert {"untagged", "no tags", "3 images in 3 repositories; pushes and deletes are accepted."} <= set(seen.words)
    assert not any("untagged" in command for command in seen.commands)


def test_a_server_without_images_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    with Serve(tmp_path / "layout", writable=False) as server:
        assert "0 images in 0 repositories; read-only." in page(server.host).words


def test_a_server_is_healthy_while_its_directory_can_be_read(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    write_layout(layout, {"app:1": ONE})
    with Serve(layout, writable=False) as server:
        url = f"http://{server.host}/healthz"
        healthy = ask("GET", url)
        assert (healthy.status, healthy.body, healthy.headers.get_content_type()) == (200, b"ok\n", "text/plain")
        assert (ask("HEAD", url).status, ask("POST", url).status) == (200, 405)
        good = (layout / "index.json").read_bytes()
        (layout / "index.json").write_text(json.dumps([]))
        assert ask("GET", url).status == 507
        (layout / "index.json").write_bytes(good)
        assert ask("GET", url).status == 200
        shutil.rmtree(layout)
        gone = ask("GET", url)
        assert (gone.status, code_of(gone)) == (503, "UNAVAILABLE")
