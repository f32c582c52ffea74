"""Foreign layers, which may not be distributed: not mirrored with a notice, or copied from their URLs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mirrorsync.errors import RegistryFailure
from mirrorsync.stores.registry.foreign import safe_url
from tests.parts.auth_service import PASSWORD, USER, basic_guard
from tests.parts.certificates import Authority
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Image, digest, layer, noise
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry, ask

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
SMALL, LARGE = 1000, 2_000_000


def windows_image(urls: Sequence[str] = ("https://127.0.0.1:1/base",), base: bytes = b"base") -> Image:
    """Return an image with a base layer that has only URLs; by default of a server that does not answer."""
    config, top = b'{"os":"windows","architecture":"amd64"}', layer({"app.exe": b"MZ"})
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [
            {"mediaType": FOREIGN, "digest": digest(base), "size": len(base), "urls": list(urls)},
            {"mediaType": OCI_LAYER, "digest": digest(top), "size": len(top)},
        ],
    }
    return Image(OCI_MANIFEST, json.dumps(document).encode(), {digest(data): data for data in (config, top)})


def test_an_image_with_foreign_layers_is_mirrored_without_them(
    mirrorsync: Mirrorsync, served: Serve, unique: str
) -> None:
    source = Registry(served.host)
    made = windows_image()
    source.push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(served.host),
            "destinations": {"there": f"{served.host}/{unique}/copy"},
            "mirrors": [f"{served.host}/{unique}/app:1"],
        }
    )
    done = mirrorsync("apply", code=0)
    assert "1 foreign layer is not mirrored" in done.err
    assert source.holds(f"{unique}/copy/{unique}/app", made, "1")
    assert mirrorsync("verify", code=0).out.startswith("1 image complete; ")


def test_cncf_distribution_rejects_urls_even_of_layers_that_it_has(registry: DockerRegistry, unique: str) -> None:
    """Unless its configuration allows them; docs/referrers.md says so."""
    target, made = Registry(registry.host), windows_image()
    for data in (*made.blobs.values(), b"base"):
        target.push_blob(unique, data)
    answer = ask("PUT", f"{target.url}/{unique}/manifests/1", made.raw, {"Content-Type": OCI_MANIFEST})
    assert answer.status >= 400


class Site:
    """A source with TLS and a login, a server with the layers, and a destination that stores any manifest."""

    def __init__(self, run: Mirrorsync, served: Serve, unique: str, authority: Authority) -> None:
        self.run, self.there, self.name = run, Registry(served.host), f"{unique}/app"
        self.files: dict[str, bytes] = {}
        self.tiny = TinyRegistry(guard=basic_guard('Basic realm="here"'))
        context = authority.issue("server").server()
        self.source, self.storage = Unruly(self.tiny, tls=context), Unruly(self._file, tls=context)
        self.authority = authority

    def _file(self, asked: Asked) -> Reply:
        data = self.files.get(asked.path)
        return Reply(404) if data is None else TinyRegistry.blob_reply(data, asked)

    def spec(self, foreign_layers: str) -> None:
        host = {"ca_file": str(self.authority.path), "username": USER, "password": PASSWORD}
        self.run.spec(
            {
                "registries": {self.source.host: host, **plain(self.there.host)},
                "destinations": {"there": self.there.host},
                "defaults": {"foreign_layers": foreign_layers},
                "mirrors": [{"from": f"{self.source.host}/app:1", "name": self.name}],
            }
        )

    def base(self, size: int = SMALL) -> bytes:
        """Return a layer that no other test has: the destination shares blobs between repositories."""
        return noise(self.name + str(size), size)

    def has(self, layer: bytes) -> bool:
        return self.there.blob(self.name, digest(layer)).status == 200


@pytest.fixture
def site(mirrorsync: Mirrorsync, served: Serve, unique: str, tmp_path: Path) -> Iterator[Site]:
    site = Site(mirrorsync, served, unique, Authority(tmp_path))
    with site.source, site.storage:
        yield site


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_foreign_layer_is_copied_from_its_urls_without_credentials(site: Site, size: int) -> None:
    base = site.base(size)
    site.files = {"/base": base}
    urls = ["http://registry.example/plain", f"{site.storage.url}/gone", f"{site.storage.url}/base"]
    made = site.tiny.hold("app", windows_image(urls, base), "1")
    site.spec("copy")
    done = site.run("apply", code=0)
    assert "foreign layer" not in done.err
    assert site.has(base)
    assert site.there.manifest(site.name, "1").body == made.raw
    assert site.source.seen.of("GET", digest(base))[0].authorization
    asked = site.storage.seen.requests
    assert [one.path for one in asked] == ["/gone", "/base"]
    assert not any(one.authorization for one in asked)
    assert site.run("verify", code=0).out.startswith("1 image complete; presence of 4 blobs and manifests")
    assert site.run("apply", code=0).out.startswith("nothing to do")
    assert len(site.storage.seen.requests) == 2


def test_a_foreign_layer_that_the_source_has_is_copied_from_there(site: Site) -> None:
    base = site.base()
    site.tiny.hold("app", windows_image([f"{site.storage.url}/base"], base), "1")
    site.tiny.hold_blob("app", base)
    site.spec("skip")
    assert "1 foreign layer is not mirrored" in site.run("apply", code=0).err
    assert not site.has(base)
    site.spec("copy")
    assert "layer 1 of 2" in site.run("verify", code=1).out
    site.run("apply", "--deep", code=0)
    assert site.has(base)
    assert not site.storage.seen.requests


def wrong(data: bytes) -> bytes:
    return data[:-1] + b"?"


@pytest.mark.parametrize(
    ("size", "sent"),
    [(SMALL, wrong), (SMALL, lambda data: data + b"more"), (SMALL, lambda data: data[:-9]), (LARGE, wrong)],
)
def test_what_is_not_the_layer_is_not_written(site: Site, size: int, sent: Callable[[bytes], bytes]) -> None:
    base = site.base(size)
    site.files = {"/base": sent(base)}
    site.tiny.hold("app", windows_image([f"{site.storage.url}/base"], base), "1")
    site.spec("copy")
    site.run("apply", code=4)
    assert not site.has(base)
    assert site.there.manifest(site.name, "1").status == 404


def test_a_layer_that_no_url_has_fails_with_the_reasons_and_the_remedy(site: Site) -> None:
    site.tiny.hold("app", windows_image(["ftp://a.example/x", f"{site.storage.url}/gone"]), "1")
    site.spec("copy")
    done = site.run("apply", code=1)
    assert (
        "neither the registry nor its URLs have the foreign layer ('ftp://a.example/x' is not an https URL" in done.err
    )
    assert f"{site.storage.host}: there is no such file" in done.err
    assert "foreign_layers: skip" in done.err


def test_a_saved_plan_has_the_urls(site: Site) -> None:
    base = site.base()
    site.files = {"/base": base}
    site.tiny.hold("app", windows_image([f"{site.storage.url}/base"], base), "1")
    site.spec("copy")
    site.run("plan", "--output", "saved", code=0)
    site.run("apply", "saved", code=0)
    assert site.has(base)


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/base",
        "ftp://files.example/base",
        "//files.example/base",
        "/base",
        "https://user:secret@files.example/base",
        "https://localhost/base",
        "https://127.0.0.1/base",
        "https://0x7f000001/base",
        "https://[::1]/base",
        "https://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/",
        "https://files.example:x/base",
    ],
)
def test_urls_that_are_not_safe_are_not_asked(url: str) -> None:
    with pytest.raises(RegistryFailure) as caught:
        safe_url(url, "https://registry.example")
    assert "secret" not in str(caught.value)


def test_a_safe_url_is_asked_as_it_is() -> None:
    url = "https://go.example.com/fwlink/?linkid=873595&x=%2F"
    assert safe_url(url, "https://registry.example") == url
