"""A token service by distribution's token specification, with tokens that a real docker-registry accepts."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.parts.processes import run

ISSUER = "mirrorsync tests"
SERVICE = "the registry"
USER, PASSWORD, REFRESH = "robot", "s3cret-of-robot", "refresh-token-of-robot"


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate for 127.0.0.1 and its key; return their paths."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return certificate, key


class TokenServer:
    """Issues pull tokens to anonymous clients, and tokens with all rights for the password or the refresh token.

    lifetime: of tokens, seconds. asked: for every request, how the client authenticated, and the scopes.
    """

    def __init__(self, certificate: Path, key: Path, lifetime: int = 300) -> None:
        self.lifetime = lifetime
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._key = key
        der = subprocess.run(
            ["openssl", "x509", "-in", certificate, "-outform", "DER"], check=True, capture_output=True
        ).stdout
        self._chain = base64.b64encode(der).decode()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                self._answer(service.by_password(self.headers.get("Authorization", ""), query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(service.by_refresh_token(parse_qs(body.decode())))

            def _answer(self, document: dict[str, Any] | None) -> None:
                data = json.dumps(document or {"details": "incorrect username or password"}).encode()
                self.send_response(200 if document else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        """Stop the service."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def by_password(self, authorization: str, query: dict[str, list[str]]) -> dict[str, Any] | None:
        """Answer a GET."""
        scopes = query.get("scope", [])
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if not authorization:
            self.asked.append(("anonymous", tuple(scopes)))
            return self._document(scopes, pull_only=True)
        self.asked.append(("password", tuple(scopes)))
        return self._document(scopes) if authorization == expected else None

    def by_refresh_token(self, form: dict[str, list[str]]) -> dict[str, Any] | None:
        """Answer a POST (OAuth2)."""
        scopes = form.get("scope", [""])[0].split()
        self.asked.append(("refresh token", tuple(scopes)))
        if form.get("grant_type") != ["refresh_token"] or form.get("refresh_token") != [REFRESH]:
            return None
        return self._document(scopes)

    def _document(self, scopes: list[str], *, pull_only: bool = False) -> dict[str, Any]:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [action for action in actions.split(",") if action == "pull" or not pull_only]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "exp": now + 600, "nbf": now - 60, "iat": now,
            "jti": str(len(self.asked)), "access": access,
        }  # fmt: skip
        return {"token": self._signed(claims), "expires_in": self.lifetime}

    def _signed(self, claims: dict[str, Any]) -> str:
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._chain]}
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key], input=signed.encode(), check=True, capture_output=True
        ).stdout
        return f"{signed}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
