"""`/metrics` of `mirrorsync serve`: what was done, in the text format of Prometheus, with few values of each label."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from mirrorsync.events import Event, Served
from mirrorsync.serve.metrics import Traffic, exposition, kind_of
from tests.parts.images import image, layer
from tests.parts.wire import Registry, ask
from tests.serve.harness import raw
from tests.serve.secured import Secured, basic

IMAGE = image([layer({"etc/none": b"none"})])
_LINE = re.compile(r'([a-z_]+)(\{[a-z]+="[^"\\\n]*"(?:,[a-z]+="[^"\\\n]*")*\})? ([0-9.e+-]+)')


def read(text: str) -> dict[str, float]:
    """Return the values by name and labels, after checking the format: a family is in one piece, with HELP and TYPE."""
    values: dict[str, float] = {}
    families: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            families.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2:] in ([families[-1], "counter"], [families[-1], "gauge"])
        else:
            found = _LINE.fullmatch(line)
            assert found is not None, line
            assert found[1] == families[-1]
            values[f"{found[1]}{found[2] or ''}"] = float(found[3])
    assert len(families) == len(set(families))
    assert text.endswith("\n")
    return values


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/", "version"),
        ("/v2/_catalog", "catalog"),
        ("/v2/a/b/tags/list", "tags"),
        ("/v2/a/manifests/1", "manifest"),
        ("/v2/a/blobs/sha256:0", "blob"),
        ("/v2/a/blobs/uploads/", "upload"),
        ("/v2/a/blobs/uploads/1", "upload"),
        ("/v2/a/referrers/sha256:0", "referrers"),
        ("/", "page"),
        ("/healthz", "health"),
        ("/metrics", "metrics"),
        ("/v2/a/anything", "other"),
        ("", "other"),
        ("/v2/" + "x\n" * 4000, "other"),
    ],
)
def test_the_kind_of_a_request_is_one_of_a_few_words(path: str, kind: str) -> None:
    assert kind_of(path) == kind


def test_no_client_can_make_a_new_value_of_a_label() -> None:
    traffic = Traffic()
    before: list[Event] = []
    count = traffic.counting(before.append)
    for number in range(100):
        count(Served("10.0.0.1", f"HACK{number}", f"/v2/{number}/x\n", 405, 10, 20, 0.5, f"user{number}"))
    assert len(before) == 100
    values = read(exposition(traffic.families()))
    assert values['mirrorsync_serve_requests_total{method="other",status="405",kind="other"}'] == 100
    assert values['mirrorsync_serve_received_bytes_total{kind="other"}'] == 1000
    assert values['mirrorsync_serve_sent_bytes_total{kind="other"}'] == 2000
    assert values['mirrorsync_serve_request_seconds_total{kind="other"}'] == 50
    assert len(values) == 6


def test_the_metrics_are_those_of_the_server(secured_server: Secured, unique: str) -> None:
    def metrics() -> dict[str, float]:
        answer = secured_server.ask("GET", "/metrics", headers=basic())
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return read(answer.body.decode())

    before, begun = metrics(), time.time()
    secured_server.push(unique, IMAGE, "1")
    secured_server.ask("POST", f"/v2/{unique}/blobs/uploads/", headers=basic())
    secured_server.ask("GET", "/v2/", headers=basic(password="wrong"))
    secured_server.ask("GET", f"/v2/{unique}/manifests/1", headers=basic())
    after = metrics()

    def grown(name: str) -> float:
        return after[f"mirrorsync_serve_{name}"] - before.get(f"mirrorsync_serve_{name}", 0)

    assert grown('requests_total{method="PUT",status="201",kind="manifest"}') == 2
    assert grown('requests_total{method="GET",status="200",kind="manifest"}') == 1
    assert grown('sent_bytes_total{kind="manifest"}') == len(IMAGE.raw)
    assert grown('received_bytes_total{kind="manifest"}') == 2 * len(IMAGE.raw)
    assert [grown(name) for name in ("rejected_logins_total", "uploads", "repositories", "tags")] == [1, 1, 1, 1]
    assert [after[f"mirrorsync_serve_{name}"] for name in ("requests_in_flight", "store_readable")] == [1, 1]
    assert begun - 1 <= after["mirrorsync_serve_last_write_timestamp_seconds"] <= time.time()
    assert after["mirrorsync_serve_connections"] >= 1
    assert after["mirrorsync_serve_verified_logins_total"] >= 1
    end = after["mirrorsync_serve_certificate_end_timestamp_seconds"] - begun
    assert 86400 < end <= 2 * 86400 + 60
    pid = secured_server.server.process.pid
    assert after["process_open_fds"] <= after["process_max_fds"]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    assert after["process_resident_memory_bytes"] == pytest.approx(pages * os.sysconf("SC_PAGESIZE"), rel=0.2)
    age = float(Path("/proc/uptime").read_text().split()[0]) - int(
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    ) / os.sysconf("SC_CLK_TCK")
    assert after["process_start_time_seconds"] == pytest.approx(time.time() - age, abs=2)
    assert unique not in str(after)


def test_without_users_the_metrics_are_open_and_say_nothing_of_logins(server: Registry) -> None:
    answer = ask("GET", f"http://{server.host}/metrics")
    assert answer.status == 200
    assert not any("login" in name and value for name, value in read(answer.body.decode()).items())
    assert raw(server.host, "POST", "/metrics", {"Content-Length": 0}).status == 405
