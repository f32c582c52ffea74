"""`mirrorsync serve --generation N`: a layout as it was after an earlier run, by digest and read-only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import artifact, multi_platform, write_layout
from tests.parts.mirrorsync import COMMAND, Mirrorsync, Serve, plain
from tests.parts.processes import Server, command, free_port
from tests.parts.wire import Registry, ask

FIRST, SECOND, GONE = multi_platform("first"), multi_platform("second"), multi_platform("gone")
SIGNED = artifact(FIRST, b"signature")


class Site:
    """A layout with two generations of a repository: tag 1 has moved, `gone` is deleted, and 2 is new."""

    def __init__(self, run: Mirrorsync, source: Registry, name: str) -> None:
        self.run, self.source, self.name = run, source, name
        for tag, made in (("1", FIRST), ("gone", GONE)):
            source.push(f"{name}/app", made, tag)
        source.push(f"{name}/app", SIGNED, "signature")
        self.apply(["1", "gone", "signature"], {})
        source.push(f"{name}/app", SECOND, "1")
        source.push(f"{name}/app", SECOND, "2")
        self.apply(["1", "2", "signature"], {})

    def apply(self, tags: list[str], prune: dict[str, int]) -> None:
        self.run.spec(
            {
                "registries": plain(self.source.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [{"from": f"{self.source.host}/{self.name}/app", "tags": tags, "name": "app"}],
                "prune": prune,
            }
        )
        self.run("apply", code=0)

    def serve(self, number: int, *options: str) -> Serve:
        spec = str(self.run.directory / "mirror.yaml")
        words = ("--generation", str(number), "--spec", spec, *options)
        return Serve(self.run.directory / "disk", *words, writable=False, env=self.run.environment())


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    return Site(mirrorsync, Registry(registry.host), unique)


def statuses(server: Registry, *refs: str) -> list[int]:
    return [server.manifest("app", ref).status for ref in refs]


def test_a_generation_is_served_under_a_prefix_and_next_to_another_layout(site: Site) -> None:
    directory, port = site.run.directory, free_port()
    write_layout(directory / "other", {"more:1": SECOND})
    stores = [f"site=oci:{directory}/disk", f"oci:{directory}/other"]
    words = [*COMMAND, "serve", *stores, "--generation", "1", "--spec", str(directory / "mirror.yaml")]
    start = command(*words, "--listen", f"127.0.0.1:{port}", env=site.run.environment())
    with Server(start, port, directory / "log") as served:
        server = Registry(served.host)
        assert server.holds("site/app", FIRST, "1")
        assert server.manifest("site/app", "2").status == 404
        assert ask("GET", f"{server.url}/_catalog").json() == {"repositories": ["site/app"]}


def test_a_generation_is_served_as_it_was_and_nothing_else(site: Site) -> None:
    with site.serve(1) as served:
        server = Registry(served.host)
        assert server.tags("app") == ["1", "gone", "signature"]
        assert ask("GET", f"http://{served.host}/v2/_catalog").json() == {"repositories": ["app"]}
        assert server.holds("app", FIRST, "1")
        assert server.holds("app", FIRST.children[0])
        assert statuses(server, "gone", "2", SECOND.digest, SECOND.children[0].digest) == [404] * 4
        referrers = ask("GET", f"http://{served.host}/v2/app/referrers/{FIRST.digest}").json()["manifests"]
        assert [one["digest"] for one in referrers] == [SIGNED.digest]
        assert ask("GET", f"http://{served.host}/v2/app/referrers/{SECOND.digest}").json()["manifests"] == []
        assert ask("GET", f"http://{served.host}/v2/other/tags/list").status == 404
        assert ask("DELETE", f"http://{served.host}/v2/app/manifests/1").status == 405
        page = ask("GET", f"http://{served.host}/", headers={"Accept": "text/html"}).body.decode()
        assert "generation 1 (20" in page
        assert "missing" in page, "the size of the image that is not there any more"
        log = served.log.read_text()
        assert "(generation 1, read-only)" in log
        assert "1 image is not in" in log
        assert "app:gone" in log
    with site.serve(2, "--json") as served:
        assert Registry(served.host).tags("app") == ["1", "2", "signature"]
        assert Registry(served.host).holds("app", SECOND, "1")
        text = served.log.read_text()
        assert "any more" not in text
        assert json.loads(text)["generation"] == 2


def test_what_keep_generations_keeps_is_served(site: Site) -> None:
    site.apply(["1", "2"], {"keep_generations": 3})
    with site.serve(2) as served:
        assert Registry(served.host).holds("app", SIGNED, "signature")


def refused(site: Site, *words: str) -> str:
    return site.run("serve", "--listen", "127.0.0.1:0", *words, code=2).err


def test_a_generation_that_cannot_be_shown_is_refused(site: Site, tmp_path: Path) -> None:
    assert "there is no generation 9: there are 1 to 2" in refused(site, "oci:disk", "--generation", "9")
    other = f"oci:{tmp_path}/other"
    (tmp_path / "other").mkdir()
    assert f"generation 1 has no images at {other}" in refused(site, other, "--generation", "1")
    assert "a generation cannot be changed" in refused(site, "oci:disk", "--generation", "1", "--writable")
    assert "--spec has no effect" in refused(site, "oci:disk", "--spec", "mirror.yaml")
