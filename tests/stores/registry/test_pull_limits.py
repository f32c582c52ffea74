"""What a registry says about its limit of pulls, and what counts as one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from multidict import CIMultiDict

from mirrorsync.hosts import Pulls
from mirrorsync.stores.registry.http.limits import Meter
from mirrorsync.stores.registry.http.messages import Answer, Request

MANIFEST, BLOB = ("https://hub.example/v2/app/" + part for part in ("manifests/1.0", "blobs/sha256:0"))
HUB = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600", "Docker-RateLimit-Source": "192.0.2.7"}


def answer(headers: Mapping[str, str], status: int = 200, body: bytes = b"") -> Answer:
    return Answer(status, CIMultiDict(headers), MANIFEST, body)


@pytest.mark.parametrize(
    ("method", "url", "status", "used"),
    [
        ("GET", MANIFEST, 200, 1),
        ("HEAD", MANIFEST, 200, 0),
        ("GET", MANIFEST, 404, 0),
        ("GET", MANIFEST, 429, 0),
        ("PUT", MANIFEST, 201, 0),
        ("GET", BLOB, 200, 0),
    ],
)
def test_a_manifest_that_was_read_is_a_pull(method: str, url: str, status: int, used: int) -> None:
    meter = Meter()
    meter.see(Request(method, url), answer({}, status))
    assert meter.pulls == Pulls(used)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (HUB, (76, 100, 21600, "192.0.2.7")),
        ({"ratelimit-remaining": "76"}, (76, None, None, "")),
        ({"ratelimit-remaining": " 0 ; w=60", "ratelimit-limit": "10, 10;w=60"}, (0, 10, 60, "")),
        ({"ratelimit-limit": "100;w=21600"}, (None, None, None, "")),
        ({"ratelimit-remaining": "-1"}, (None, None, None, "")),
        ({"ratelimit-remaining": "many", "ratelimit-limit": "100"}, (None, None, None, "")),
        ({"ratelimit-remaining": "9" * 40}, (None, None, None, "")),
        ({**HUB, "Docker-RateLimit-Source": "\x1b[31m" + "a" * 99}, (76, 100, 21600, r"\x1b[31m" + "a" * 56 + "...")),
    ],
)
def test_the_limit_is_read_from_any_answer_about_a_manifest(
    headers: Mapping[str, str], said: tuple[int | None, int | None, int | None, str]
) -> None:
    meter = Meter()
    meter.see(Request("HEAD", MANIFEST), answer(headers))
    assert meter.pulls == Pulls(0, *said)


def test_the_least_that_was_said_counts_and_silence_changes_nothing() -> None:
    meter = Meter()
    meter.see(Request("HEAD", MANIFEST), answer(HUB))
    meter.see(Request("GET", MANIFEST), answer({**HUB, "RateLimit-Remaining": "0;w=21600"}, 429))
    meter.see(Request("GET", MANIFEST), answer({**HUB, "RateLimit-Remaining": "1;w=21600"}))  # an earlier one
    meter.see(Request("HEAD", MANIFEST), answer({}))
    meter.see(Request("GET", BLOB), answer({**HUB, "RateLimit-Remaining": "5"}))
    assert (meter.pulls.remaining, meter.pulls.limit) == (0, 100)
    meter.see(Request("HEAD", MANIFEST), answer({**HUB, "Docker-RateLimit-Source": "another account"}))
    assert meter.pulls.remaining == 76
