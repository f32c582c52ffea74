"""The image part of Docker's Engine API, as dockerd and podman's service implement it.

They differ: podman lists full image names, and some IDs without `sha256:`. Paths have no version, which means the
daemon's own; names are sent in full, which both understand.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from mirrorsync.errors import ContentNotFound, Denied, GrammarError, RegistryFailure, Unreachable
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.oci.digest import Digest
from mirrorsync.remedies import ByVerb
from mirrorsync.stores.docker.endpoint import Endpoint
from mirrorsync.stores.docker.reader import Name, read_name
from mirrorsync.text import printable

_QUESTION_SECONDS: Final = 120.0
# podman writes the whole archive before it sends the first byte of an export, and loads all of it before it answers.
_BULK_SECONDS: Final = 3600.0
_MAX_ANSWER: Final = 256 * 1024 * 1024  # a list of 100,000 images
_MAX_ERROR: Final = 64 * 1024
_BROKEN: Final = (OSError, ssl.SSLError, http.client.HTTPException)


class DaemonImage(NamedTuple):
    """An image in an answer of the daemon. layers: its diff_ids; () in a list."""

    id: Digest
    names: tuple[Name, ...]
    layers: tuple[str, ...] = ()


class DaemonApi:
    """A client of a daemon; each request has a connection of its own. All methods block.

    Raises: Unreachable, Denied, TlsFailed if the daemon cannot be used; RegistryFailure for its own errors.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def ping(self) -> None:
        """Check that a daemon answers."""
        with self._answer("GET", "/_ping") as answer:
            if answer.status != 200 or answer.getheader("Api-Version") is None:
                raise Unreachable(f"the server at {self._endpoint.shown} is not a docker daemon")

    def images(self) -> list[DaemonImage]:
        """Return all images."""
        found = self._json("/images/json")
        if not isinstance(found, list):
            raise _strange()
        return [_image(each) for each in found]

    def image(self, name: str) -> DaemonImage | None:
        """Return the image with a full name and tag, or with an ID; None if there is no such image."""
        found = self._json(f"/images/{quote(name, safe='/:')}/json")
        return _image(found) if found is not None else None

    @contextmanager
    def export(self, image_id: Digest) -> Iterator[Iterator[bytes]]:
        """Read an image as an archive of `docker save`. Raises: ContentNotFound."""
        path = f"/images/{quote(image_id, safe=':')}/get"
        with self._answer("GET", path, silence=_BULK_SECONDS) as answer:
            if answer.status == 404:
                raise ContentNotFound("the daemon no longer has the image")
            self._raise_error(answer, "reading an image")
            yield self._chunks(answer)

    def load(self, size: int, archive: Iterable[bytes]) -> None:
        """Load images from an archive of `docker save` of so many bytes; exceptions of `archive` pass through."""
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        with self._answer("POST", "/images/load?quiet=1", archive, headers, _BULK_SECONDS) as answer:
            self._raise_error(answer, "loading images")
            for line in self._body(answer).splitlines():
                said = _parsed(line) if line.startswith(b"{") else {}
                # Errors after the start of the answer are reported in its body.
                if isinstance(said, dict) and said.get("error"):
                    raise RegistryFailure(f"loading images: the daemon reported {printable(str(said['error']))}")

    def tag(self, image_id: Digest, name: Name) -> None:
        """Add a name to an image of the daemon."""
        repository, _, tag = name.full.rpartition(":")
        query = urlencode({"repo": repository, "tag": tag})
        with self._answer("POST", f"/images/{quote(image_id, safe=':')}/tag?{query}") as answer:
            self._raise_error(answer, "setting a tag")

    def untag(self, name: str) -> bool:
        """Remove a full name with its tag; False if it does not exist. An image is removed with its last name."""
        with self._answer("DELETE", f"/images/{quote(name, safe='/:')}?noprune=1") as answer:
            if answer.status == 404:
                return False
            self._raise_error(answer, "removing a tag")
            return True

    def _json(self, path: str) -> Any:
        """Return a JSON document; None for 404."""
        with self._answer("GET", path) as answer:
            if answer.status == 404:
                if not isinstance(_parsed(self._body(answer, _MAX_ERROR)), dict):
                    raise _strange()
                return None
            self._raise_error(answer, "asking for images")
            found = _parsed(self._body(answer))
            if found is None:
                raise _strange()
            return found

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float = _QUESTION_SECONDS,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._endpoint.connection(silence)
        try:
            try:
                connection.connect()
                sent = {"Host": "docker", "Connection": "close", **(headers or {})}
                self._send(connection, method, path, body, sent)
                answer = connection.getresponse()
            except _BROKEN as error:
                raise self._endpoint.failure(error) from error
            with answer:  # it owns the socket, since the server closes the connection
                yield answer
        finally:
            connection.close()

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Iterable[bytes] | None,
        headers: Mapping[str, str],
    ) -> None:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        for chunk in body or ():
            try:
                connection.send(chunk)
            except (BrokenPipeError, ConnectionResetError):
                return  # the daemon has rejected the rest; its answer says why

    def _chunks(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while chunk := answer.read(CHUNK_BYTES):
                yield chunk
        except _BROKEN as error:
            raise self._endpoint.failure(error) from error

    def _body(self, answer: http.client.HTTPResponse, limit: int = _MAX_ANSWER) -> bytes:
        try:
            body = answer.read(limit)
        except _BROKEN as error:
            raise self._endpoint.failure(error) from error
        if len(body) == limit == _MAX_ANSWER:
            raise RegistryFailure(f"the daemon's answer exceeds the limit of {limit} bytes")
        return body

    def _raise_error(self, answer: http.client.HTTPResponse, doing: str) -> None:
        """Raise the error for an error answer."""
        if answer.status < 300:
            return
        body = self._body(answer, _MAX_ERROR)
        said = _parsed(body)
        message = said.get("message") if isinstance(said, dict) else body.decode("utf-8", "replace")
        text = f"{doing}: the daemon answered {answer.status}: {printable(str(message))}"
        if answer.status == 409:
            raise Denied(text, remedy="remove the containers that use the image first")
        if answer.status in (401, 403):
            raise Denied(text, remedy="ask the administrator of the daemon: its policy forbids this")
        raise RegistryFailure(text)


def _strange() -> RegistryFailure:
    return RegistryFailure(
        "the answer is not that of Docker's API",
        remedy=ByVerb(
            "check the variable DOCKER_HOST: is it a docker daemon?",
            "check --daemon-host or DOCKER_HOST: is it a docker daemon?",
        ),
    )


def _parsed(body: bytes) -> Any:
    """Return a JSON document, None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _image(found: Any) -> DaemonImage:
    """Read an image of an answer. Names that break the grammar, such as `<none>:<none>`, are skipped."""
    try:
        text = str(found["Id"])
        image_id = Digest(text if ":" in text else f"sha256:{text}")
        layers = found["RootFS"]["Layers"] if found.get("RootFS") else None
        return DaemonImage(image_id, tuple(_names(found.get("RepoTags"))), tuple(map(str, layers or ())))
    except (TypeError, KeyError, AttributeError, GrammarError) as error:
        raise _strange() from error


def _names(found: Any) -> Iterator[Name]:
    for text in found or ():
        try:
            yield read_name(str(text))
        except GrammarError:
            continue
