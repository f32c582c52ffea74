"""Lists of tags and repositories, from servers that are wrong, endless or hostile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mirrorsync.errors import Denied, RegistryFailure, RepositoryNotFound
from mirrorsync.hosts import HostSettings
from mirrorsync.secret import Secret
from mirrorsync.stores.base import Store
from tests.parts.auth_service import PASSWORD, USER, basic_guard
from tests.parts.tiny_registry import App, Asked, Reply
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time

JSON = {"Content-Type": "application/json"}


def page(tags: Any, *links: str) -> Reply:
    return Reply(200, JSON, json.dumps({"name": "app", "tags": tags}).encode(), [("Link", link) for link in links])


def book(pages: Sequence[Sequence[str]], link: str) -> App:
    """Return a registry whose list has these pages. link: with {next}, the parameter of the next page."""

    def answer(asked: Asked) -> Reply:
        if "/tags/" not in asked.path:
            return Reply()
        number = int(asked.query.get("p", "0"))
        following = [link.replace("{next}", f"n=2&p={number + 1}")] if number + 1 < len(pages) else []
        return page(pages[number], *following)

    return answer


LINKS = {
    "relative": '</v2/app/tags/list?{next}>; rel="next"',
    "relative to the page": '<list?{next}>; rel="next"',
    "only a query": '<?{next}>; rel="next"',
    "absolute": '<{url}/v2/app/tags/list?{next}>; rel="next"',
    "rel without quotes": "</v2/app/tags/list?{next}>; rel=next",
    "upper case": '</v2/app/tags/list?{next}>; REL="NEXT"',
    "after another parameter": '</v2/app/tags/list?{next}>; title="a, b; c"; rel="next"',
    "after another link": '</v2/app/tags/list>; rel="first", </v2/app/tags/list?{next}>; rel="next"',
    "one of two relations": '</v2/app/tags/list?{next}>; rel="next last"',
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_every_page_is_read(server: Unruly, harness: ClientHarness, link: str) -> None:
    server.app = book([["1", "2"], ["3"], ["4", "2"]], link.replace("{url}", server.url))
    assert harness.tags() == ["1", "2", "3", "4"]
    assert len(server.seen.of("GET", "/tags/")) == 3


def test_credentials_are_sent_for_every_page(server: Unruly, time: Time) -> None:
    guarded, guard = book([["1"], ["2"]], LINKS["relative"]), basic_guard('Basic realm="x"')
    server.app = lambda asked: guard(asked) or guarded(asked)
    login = HostSettings(plain_http=True, username=USER, password=Secret(PASSWORD))
    assert ClientHarness(server.host, login, time=time).tags() == ["1", "2"]


@pytest.mark.parametrize(
    "link",
    [
        "http://localhost:{port}/v2/app/tags/list?{next}",
        "http://127.0.0.1:1/v2/app/tags/list?{next}",
        "//127.0.0.2:{port}/v2/app/tags/list?{next}",
        "https://127.0.0.1:{port}/v2/app/tags/list?{next}",
        "http://user:pw@127.0.0.1:{port}/v2/app/tags/list?{next}",
        "ftp://127.0.0.1:{port}/?{next}",
        "http://[::1/?{next}",
        "/v2/app/tags/list?\x01{next}",
    ],
)
def test_a_link_to_another_host_is_not_followed(server: Unruly, harness: ClientHarness, link: str) -> None:
    server.app = book([["1"], ["2"]], f'<{link.replace("{port}", str(server.port))}>; rel="next"')
    with pytest.raises(RegistryFailure) as caught:
        harness.tags()
    assert caught.value.where == f"{server.host}/app"
    assert len(server.seen.of("GET", "/tags/")) == 1


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("</v2/app/tags/list?n=1000>", "the links of the pages form a circle"),
        ("</v2/app/tags/list?p=1>", "the pages repeat the same entries"),
    ],
)
def test_pages_in_a_circle_are_rejected(server: Unruly, harness: ClientHarness, link: str, message: str) -> None:
    server.app = lambda asked: page(["1", "2"], f'{link}; rel="next"')
    with pytest.raises(RegistryFailure, match=message):
        harness.tags()
    assert len(server.seen.of("GET", "/tags/")) <= 2


def test_endless_pages_with_the_same_entries_are_rejected(server: Unruly, harness: ClientHarness) -> None:
    def answer(asked: Asked) -> Reply:
        number = int(asked.query.get("p", "0"))
        return page(["1", "2"], f'</v2/app/tags/list?p={number + 1}>; rel="next"')

    server.app = answer
    with pytest.raises(RegistryFailure, match="repeat the same entries"):
        harness.tags()
    assert len(server.seen.of("GET", "/tags/")) < 100


def test_an_empty_page_with_a_link_is_not_the_end(server: Unruly, harness: ClientHarness) -> None:
    server.app = book([["1"], [], [], ["2"]], LINKS["relative"])
    assert harness.tags() == ["1", "2"]


@pytest.mark.parametrize(
    "header",
    [
        "<a>;" + " " * 8000,
        "<a>;" + " a" * 4000,
        "<" * 8000,
        "<a>;a=" + '"' * 8000,
        ";a=b" * 2000,
        "<a>" + ";a=b " * 1500,
        "<a>; rel" + " " * 7900 + "x",
        '</v2/app/tags/list?p=1; rel="next"',
    ],
)
def test_a_malformed_link_is_ignored_in_linear_time(server: Unruly, harness: ClientHarness, header: str) -> None:
    server.app = lambda asked: page(["1"], header)
    assert harness.tags() == ["1"]


NULLS: dict[str, tuple[Any, list[str]]] = {
    "tags is null": (None, []),
    "an empty list": ([], []),
    "null in the list": (["1", None, "2", None], ["1", "2"]),
    "a duplicate": (["1", "1", "2"], ["1", "2"]),
}


@pytest.mark.parametrize(("tags", "expected"), NULLS.values(), ids=NULLS)
def test_tag_lists_with_null_entries_are_read(
    server: Unruly, harness: ClientHarness, tags: Any, expected: list[str]
) -> None:
    server.app = lambda asked: page(tags)
    assert harness.tags() == expected


def test_a_list_without_the_tags_field_is_empty(server: Unruly, harness: ClientHarness) -> None:
    server.app = lambda asked: Reply(200, JSON, b'{"name": "app"}')
    assert harness.tags() == []


BROKEN_LISTS = {
    "a web page": b"<html><title>Log in</title></html>",
    "empty body": b"",
    "a list": b'["1"]',
    "truncated": b'{"tags": ["1"',
    "a number in the list": b'{"tags": ["1", 2]}',
    "a string": b'{"tags": "1"}',
    "nested too deeply": b'{"tags": ' + b"[" * 100_000,
    "not UTF-8": b'{"tags": ["\xff"]}',
    "a number too long": b'{"tags": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", BROKEN_LISTS.values(), ids=BROKEN_LISTS)
def test_an_invalid_tag_list_is_rejected(server: Unruly, harness: ClientHarness, body: bytes) -> None:
    server.app = lambda asked: Reply(200, JSON, body)
    with pytest.raises(RegistryFailure) as caught:
        harness.tags()
    assert caught.value.where == f"{server.host}/app"
    assert "listing its tags" in caught.value.message


NO_TAGS = (
    "../x", "..", ".x", "-x", "", "a/b", "a b", "a\nb", "\x1b[31mred", "a\u202eb", "x" * 129, "x" * 200,
    "sha256:" + "0" * 64, "a?b", "a#b", "a%2e", "\u00e4", "latest\x00",
)  # fmt: skip


@pytest.mark.parametrize("name", NO_TAGS)
def test_an_invalid_tag_is_skipped_and_reported(server: Unruly, harness: ClientHarness, name: str) -> None:
    server.app = lambda asked: page(["good", name, "x" * 128])
    assert harness.tags() == ["good", "x" * 128]
    (notice,) = harness.recorded.notices
    assert notice.startswith(f"{server.host}/app: ")
    assert notice.isprintable()


def test_thousands_of_invalid_tags_are_reported_in_a_few_lines(server: Unruly, harness: ClientHarness) -> None:
    server.app = lambda asked: page([f"../{number}" for number in range(5000)])
    assert harness.tags() == []
    assert 1 <= len(harness.recorded.notices) <= 10


def test_listing_a_missing_repository_fails(server: Unruly, harness: ClientHarness) -> None:
    with pytest.raises(RepositoryNotFound):
        harness.tags("missing")


def test_a_failed_page_is_retried_without_the_pages_before_it(server: Unruly, harness: ClientHarness) -> None:
    server.app = book([["1"], ["2"], ["3"]], LINKS["relative"])
    server.fault("answer", "GET", "p=1", hits=[1, 2], status=502)
    assert harness.tags() == ["1", "2", "3"]
    assert len(server.seen.of("GET", "/tags/")) == 5


def test_an_error_on_a_later_page_fails_the_whole_list(server: Unruly, harness: ClientHarness) -> None:
    server.app = book([["1"], ["2"]], LINKS["relative"])
    server.fault("answer", "GET", "p=1", status=500)
    with pytest.raises(RegistryFailure):
        harness.tags()


async def catalog(store: Store) -> list[str]:
    return [name async for name in store.repositories()]


def test_invalid_repository_names_in_the_catalog_are_skipped(server: Unruly, harness: ClientHarness) -> None:
    names = ["app", "team/app", "../x", "UPPER", "a//b", "", "/app", None, "a\nb"]
    server.app = lambda asked: Reply(200, JSON, json.dumps({"repositories": names}).encode())
    assert harness.run(catalog) == ["app", "team/app"]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_missing_catalog_is_reported_with_a_remedy(server: Unruly, harness: ClientHarness, status: int) -> None:
    server.fault("answer", "GET", "_catalog", status=status)
    with pytest.raises(Denied) as caught:
        harness.run(catalog)
    assert caught.value.remedy == "name them in the spec"
