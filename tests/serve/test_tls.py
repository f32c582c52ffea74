"""`mirrorsync serve --tls-cert --tls-key`: versions, renewal without a restart, files that cannot be used."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Event, Noticed
from mirrorsync.serve.tls import Tls, read_chain
from tests.parts.certificates import Authority, Certificate
from tests.parts.images import noise
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.processes import run
from tests.serve.secured import Secured, basic


@dataclass(frozen=True)
class Papers:
    """Certificates of one authority."""

    authority: Authority
    one: Certificate
    other: Certificate
    expired: Certificate


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    authority = Authority(tmp_path_factory.mktemp("papers"))
    return Papers(authority, authority.issue("one"), authority.issue("other"), authority.issue("expired", days=-1))


def handshake(host: str, context: ssl.SSLContext) -> tuple[str | None, bytes]:
    """Return the version of TLS, and the certificate of the server."""
    name, _, port = host.rpartition(":")
    with (
        socket.create_connection((name, int(port)), timeout=60) as line,
        context.wrap_socket(line, server_hostname=name) as wrapped,
    ):
        return wrapped.version(), wrapped.getpeercert(binary_form=True) or b""


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def test_tls_1_2_and_newer_are_spoken_and_nothing_older(secured_server: Secured) -> None:
    context = secured_server.context()
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context.minimum_version = context.maximum_version = version
        assert handshake(secured_server.host, context)[0] == name
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        handshake(secured_server.host, context)
    plain = socket.create_connection(("127.0.0.1", secured_server.server.port), timeout=60)
    with plain:
        plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200" not in plain.recv(100)


def test_a_large_blob_is_sent_over_tls_whole_and_in_ranges_also_to_a_slow_client(
    secured_server: Secured, unique: str
) -> None:
    data = noise("tls", 5_000_000)
    path = secured_server.push_blob(unique, data)
    assert secured_server.ask("GET", path, headers=basic()).body == data
    part = secured_server.ask("GET", path, headers={**basic(), "Range": "bytes=1000000-2999999"})
    assert (part.status, part.body) == (206, data[1_000_000:3_000_000])
    name, _, port = secured_server.host.rpartition(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    slow.connect((name, int(port)))
    with secured_server.context().wrap_socket(slow, server_hostname=name) as line:
        line.sendall(f"GET {path} HTTP/1.0\r\nAuthorization: {basic()['Authorization']}\r\n\r\n".encode())
        received = bytearray()
        while piece := line.recv(5000):
            received += piece
    assert received.endswith(data)


def test_a_renewed_certificate_is_used_without_a_restart_and_a_half_renewed_one_is_not(
    papers: Papers, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    shutil.copy(papers.one.path, certificate)
    shutil.copy(papers.one.key, key)
    context = ssl.create_default_context(cafile=str(papers.authority.path))
    with Serve(tmp_path / "layout", "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        assert handshake(server.host, context)[1] == der(papers.one.path)
        shutil.copy(papers.other.path, certificate)
        for _ in range(2):
            assert handshake(server.host, context)[1] == der(papers.one.path)
        assert server.log.read_text().count(f"{key} is not the key of {certificate}") == 1
        shutil.copy(papers.other.key, key)
        assert handshake(server.host, context)[1] == der(papers.other.path)
        before = server.log.read_text()
        assert "new connections get the certificate" in before
        server.process.send_signal(signal.SIGHUP)
        while server.log.read_text() == before:
            pass
        assert handshake(server.host, context)[1] == der(papers.other.path)
        assert "Traceback" not in server.log.read_text()


def encrypted(papers: Papers, directory: Path) -> tuple[Path, Path]:
    run("openssl", "pkey", "-in", papers.one.key, "-aes256", "-passout", "pass:x", "-out", directory / "encrypted.key")
    return papers.one.path, directory / "encrypted.key"


def broken(papers: Papers, directory: Path) -> tuple[Path, Path]:
    (directory / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    return directory / "broken.pem", papers.one.key


def weak(papers: Papers, directory: Path) -> tuple[Path, Path]:
    path, key = directory / "weak.pem", directory / "weak.key"
    run("openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", path)
    return path, key


WRONG: dict[str, tuple[Callable[[Papers, Path], tuple[Path, Path]], str]] = {
    "missing": (lambda papers, at: (at / "none.pem", papers.one.key), "none.pem cannot be read: no such file"),
    "a directory": (lambda papers, at: (papers.one.path, at), "cannot be read: is a directory"),
    "swapped": (lambda papers, _: (papers.one.key, papers.one.path), "one.key has no certificate in PEM format"),
    "two certificates": (lambda papers, _: (papers.one.path, papers.one.path), "one.pem has no private key in PEM"),
    "another key": (lambda papers, _: (papers.one.path, papers.other.key), "other.key is not the key of"),
    "encrypted": (encrypted, "encrypted.key is encrypted"),
    "broken": (broken, "broken.pem has no certificate in PEM format"),
    "weak": (weak, "weak.pem is rejected by OpenSSL: ee key too small"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_cannot_be_used_are_named_with_the_reason(papers: Papers, tmp_path: Path, case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(MirrorsyncError) as raised:
        read_chain(*make(papers, tmp_path))
    assert message in raised.value.message
    assert raised.value.remedy


def test_one_file_may_have_certificate_and_key(papers: Papers, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(papers.one.path.read_text() + papers.one.key.read_text())
    assert read_chain(both, both).context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_expired_certificate_is_reported_at_the_start(papers: Papers) -> None:
    events: list[Event] = []
    Tls(papers.one.path, papers.one.key, events.append)
    assert events == []
    Tls(papers.expired.path, papers.expired.key, events.append)
    (event,) = events
    assert isinstance(event, Noticed)
    assert "expired.pem expired on " in event.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tls-cert", "site.pem"], "--tls-key is missing"),
        (["--tls-key", "site.key"], "--tls-cert is missing"),
        (["--anonymous-pull"], "--anonymous-pull has no effect without --htpasswd"),
        (["--htpasswd", "users"], "the users in users cannot be read: no such file or directory"),
    ],
)
def test_options_that_lack_something_are_rejected(mirrorsync: Mirrorsync, options: list[str], message: str) -> None:
    (mirrorsync.directory / "layout").mkdir()
    line, remedy = mirrorsync("serve", "oci:layout", "--listen", "127.0.0.1:0", *options).err.splitlines()
    assert message in line
    assert remedy.strip()
