"""Lists with a wrong Link to the next page (Nexus, Artifactory), and lists that reject a page size."""

from __future__ import annotations

import pytest

from tests.parts.gateway import gateway
from tests.parts.nexus import LINKS, nexus
from tests.parts.tiny_registry import Asked, Reply
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time

PATH = "/v2/repository/docker-proxy/app/tags/list"


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_the_next_page_is_requested_under_the_path_of_the_first(
    server: Unruly, harness: ClientHarness, link: str
) -> None:
    server.app = nexus(PATH, [["1", "2"], ["3"], ["4"]], link)
    assert harness.tags("repository/docker-proxy/app") == ["1", "2", "3", "4"]
    assert {asked.path for asked in server.seen.of("GET", "/tags/")} == {PATH}


def test_a_link_to_a_path_below_is_followed(server: Unruly, harness: ClientHarness) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/list"):
            return Reply(200, {"Link": '</v2/app/tags/list/2?n=5>; rel="next"'}, b'{"tags": ["1"]}')
        return Reply(200, {}, b'{"tags": ["2"]}' if asked.target == "/v2/app/tags/list/2?n=5" else b"{}")

    server.app = answer
    assert harness.tags() == ["1", "2"]


def test_the_next_page_behind_a_gateway_is_requested_at_the_gateway(server: Unruly, time: Time) -> None:
    server.app = nexus("/v2/app/tags/list", [["1"], ["2"]], "/v2/app/tags/list")
    with Unruly(gateway(server.url)) as front:
        assert ClientHarness(front.host, PLAIN, time=time).tags() == ["1", "2"]
        assert [asked.query.get("last") for asked in front.seen.of("GET", "/tags/")] == [None, "1"]


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_rejected_page_size_is_left_out(server: Unruly, harness: ClientHarness, status: int) -> None:
    refused = b'{"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}' if status == 400 else b""
    server.app = nexus("/v2/app/tags/list", [["1"], ["2"]], "/v2/app/tags/list")
    server.fault("answer", "GET", r"list\?n=1000$", status=status, body=refused)
    assert harness.tags() == ["1", "2"]
    assert len(server.seen.of("GET", "/tags/")) == 3
    assert harness.recorded.retries == []


def test_a_list_that_is_rejected_with_and_without_a_page_size_fails(server: Unruly, harness: ClientHarness) -> None:
    from mirrorsync.errors import RegistryFailure

    server.fault("answer", "GET", "/tags/list", status=400)
    with pytest.raises(RegistryFailure, match="400"):
        harness.tags()
    assert len(server.seen.of("GET", "/tags/")) == 2
