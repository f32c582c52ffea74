"""`mirrorsync serve --htpasswd`: what needs a login, what a wrong one gets, and what the log says of it."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from pathlib import Path
from select import select

import pytest

from tests.parts.images import image, layer
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, code_of
from tests.serve.secured import PASSWORD, USER, Secured, basic, hashed

IMAGE = image([layer({"etc/none": b"none"})])
CHALLENGE = 'Basic realm="mirrorsync", charset="UTF-8"'


def encoded(text: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text).decode()}


REFUSED = {
    "no login": {},
    "an empty login": encoded(b":"),
    "a wrong password": basic(password="wrong"),
    "an unknown user": basic("nobody"),
    "a token": {"Authorization": "Bearer abc"},
    "no colon": encoded(b"operator"),
    "no base64": {"Authorization": "Basic %%%"},
    "no UTF-8": encoded(b"\xff:\xff"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_everything_but_the_health_needs_a_login(secured_server: Secured, case: str) -> None:
    for method, path in (
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/app/manifests/1"),
        ("POST", "/v2/app/blobs/uploads/"),
        ("DELETE", "/v2/app/manifests/1"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/nowhere"),
    ):
        answer = secured_server.ask(method, path, headers={**REFUSED[case], "Accept": "text/html"})
        assert (answer.status, code_of(answer)) == (401, "UNAUTHORIZED"), path
        assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert secured_server.ask("GET", "/healthz", headers=REFUSED[case]).body == b"ok\n"


def test_a_user_reads_and_writes_and_is_named_in_the_log_without_the_password(
    secured_server: Secured, unique: str
) -> None:
    secured_server.push(unique, IMAGE, "1")
    answer = secured_server.ask("GET", f"/v2/{unique}/manifests/1", headers=basic())
    assert (answer.status, answer.body) == (200, IMAGE.raw)
    assert secured_server.ask("GET", "/v2/", headers={"Authorization": basic()["Authorization"].replace("B", "b", 1)})
    secured_server.ask("GET", f"/v2/{unique}/manifests/1", headers=basic("intruder", "guess"))
    secured_server.ask("GET", "/v2/", headers=basic())
    text = secured_server.server.log.read_text()
    lines = [line for line in text.splitlines() if f"path=/v2/{unique}/manifests/1 " in line]
    assert [(f"user={USER} " in line, "status=401" in line) for line in lines[-2:]] == [(True, False), (False, True)]
    for secret in (PASSWORD, basic()["Authorization"][6:], "guess", "intruder", "Authorization"):
        assert secret not in text


def test_with_anonymous_pull_only_writing_and_metrics_need_a_login(open_to_readers: Serve) -> None:
    url = f"http://{open_to_readers.host}"
    for headers in ({}, encoded(b":")):  # podman sends the second one if it has no login
        assert ask("GET", f"{url}/v2/_catalog", headers=headers).status == 200
        for method, path in (("POST", "/v2/app/blobs/uploads/"), ("GET", "/metrics")):
            assert ask(method, f"{url}{path}", headers=headers).status == 401
        version = ask("GET", f"{url}/v2/", headers=headers)
        assert (version.status, version.headers["WWW-Authenticate"]) == (200, CHALLENGE)
    assert ask("GET", f"{url}/v2/", headers=basic(password="wrong")).status == 401
    assert ask("POST", f"{url}/v2/app/blobs/uploads/", headers=basic()).status == 202
    assert ask("GET", f"{url}/metrics", headers=basic()).status == 200
    assert ask("GET", f"{url}/v2/", headers=basic()).headers["WWW-Authenticate"] is None


def test_a_refused_body_does_not_become_the_next_request(open_to_readers: Serve) -> None:
    with Connection(open_to_readers.host) as line:
        body = b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n"
        head = f"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        line.send(head + body)
        answer = line.answer()
        assert (answer.status, answer.headers["Connection"]) == (401, "close")


def test_a_server_that_refuses_writes_keeps_nothing_of_them(tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    with Serve(tmp_path / "layout", writable=False) as server:
        url = f"{Registry(server.host).url}/app/blobs/uploads/"

        def size() -> int:
            return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])

        with Connection(server.host) as line:
            for _ in range(100):
                assert line.ask("DELETE", "/v2/app/manifests/1").status == 405
            before = size()
            for _ in range(500):
                assert line.ask("DELETE", "/v2/app/manifests/1").status == 405
        assert size() - before < 100  # pages of 4 KiB
        assert ask("POST", url).status == 405


def test_a_flood_of_wrong_logins_leaves_the_turns_of_other_addresses_alone(tmp_path: Path) -> None:
    """It costs two seconds: bcrypt has to be slower than 257 requests are sent, or nothing is ever refused."""
    (tmp_path / "users").write_text(hashed(USER, PASSWORD, cost=11))
    with (
        Serve(tmp_path / "layout", "--htpasswd", str(tmp_path / "users")) as server,
        ExitStack() as opened,
    ):
        flood = [opened.enter_context(Connection(server.host, "127.0.0.2")) for _ in range(300)]
        for number, line in enumerate(flood):
            value = basic(password=f"wrong {number}")["Authorization"]
            line.send(f"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\n\r\n".encode())
        statuses: set[int] = set()
        while 429 not in statuses:
            ready, _, _ = select([line.socket for line in flood], [], [], 60)
            assert ready, "the logins of one address are never too many"
            statuses |= {line.answer().status for line in flood if line.socket in ready}
            flood = [line for line in flood if line.socket not in ready]
        assert ask("GET", f"http://{server.host}/v2/", headers=basic()).status == 200
