"""Translate a registry's error answers, by HTTP status and error code, into errors with a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    IntegrityError,
    MirrorsyncError,
    RateLimited,
    RegistryFailure,
    RegistryUnavailable,
    RepositoryNotFound,
    Unauthorized,
)
from mirrorsync.stores.registry.http import limits
from mirrorsync.stores.registry.http.messages import Answer
from mirrorsync.stores.registry.http.proxies import PROXY_LOGIN_REMEDY
from mirrorsync.stores.registry.http.retry import RETRIED_STATUSES, Transient, retry_after
from mirrorsync.text import printable

WEB_PAGE_REMEDY: Final = (
    "check the host name, and whether a firewall, a proxy or a login page is in front of the registry"
)
# Distribution spec, "Error Codes": those that are more specific than the status.
_BY_CODE: Final[dict[str, type[MirrorsyncError]]] = {
    "NAME_UNKNOWN": RepositoryNotFound,
    "MANIFEST_UNKNOWN": ContentNotFound,
    "BLOB_UNKNOWN": ContentNotFound,
    "UNAUTHORIZED": Unauthorized,
    "DENIED": Denied,
    "TOOMANYREQUESTS": RateLimited,
    "DIGEST_INVALID": IntegrityError,
    "SIZE_INVALID": IntegrityError,
}
_BY_STATUS: Final[dict[int, type[MirrorsyncError]]] = {
    401: Unauthorized,
    402: Denied,
    403: Denied,
    404: ContentNotFound,
    407: Unauthorized,
    429: RateLimited,
}
# Texts of registries and proxies that tell what was rejected, if status and code have several meanings.
_QUOTA: Final = re.compile(r"\bquota\b|exceed the configured upper limit|storage limit", re.IGNORECASE)
_SPACE_REMEDY: Final = (
    "no space left at the registry: raise the quota, add storage, or delete images that are not needed"
)
# 503 is what S3 ("SlowDown"), nginx (limit_req, limit_conn) and overloaded gateways answer.
_THROTTLING: Final = frozenset({429, 503})
_FIREWALL: Final = frozenset({403, 406, 451})


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The error for an answer that matches everything set here: its status, one of its codes, and its text."""

    kind: type[MirrorsyncError]
    remedy: str = ""
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None
    web_page: bool = False

    def fits(self, answer: Answer, codes: Sequence[str], text: str) -> bool:
        return (
            (not self.statuses or answer.status in self.statuses)
            and (not self.codes or not self.codes.isdisjoint(codes))
            and (self.words is None or self.words.search(text) is not None)
            and (not self.web_page or answer.media_type == "text/html")
        )


_MEANINGS: Final = (
    # ECR throttles with 400 and 403 too.
    _Meaning(RateLimited, codes=frozenset({"TOOMANYREQUESTS"})),
    _Meaning(
        RepositoryNotFound,
        "ECR does not create repositories on push. Create it first: aws ecr create-repository --repository-name NAME "
        "(create_repository does not support the API of AWS)",
        statuses=frozenset({404}),
        words=re.compile(r"does not exist in the registry with id"),
    ),
    # Harbor, by version and by the rights of the account.
    _Meaning(
        RepositoryNotFound,
        "create the project at the registry first, or set create_repository: true for this host in the spec",
        statuses=frozenset({401, 403, 404}),
        words=re.compile(r"\bproject \S+ not found", re.IGNORECASE),
    ),
    # Harbor and Quay.
    _Meaning(Denied, _SPACE_REMEDY, statuses=frozenset({403}), words=_QUOTA),
    _Meaning(RegistryFailure, _SPACE_REMEDY, statuses=frozenset({400, 405, 409, 412, 413, 500}), words=_QUOTA),
    _Meaning(RegistryFailure, _SPACE_REMEDY, statuses=frozenset({507})),
    _Meaning(RegistryFailure, WEB_PAGE_REMEDY, statuses=_FIREWALL, web_page=True),
    _Meaning(
        RegistryFailure,
        "the registry does not support this: it is read-only, or a cache of another registry (write to that one)",
        statuses=frozenset({405}),
    ),
)
_REMEDIES: Final[dict[str, str]] = {
    "MANIFEST_BLOB_UNKNOWN": "content that the manifest names is missing at the registry (garbage collection?): "
    "`mirrorsync apply --deep` finds and copies it",
    "TAG_INVALID": "the registry may protect this tag (immutable tags): allow it there, or leave the tag out",
    "UNSUPPORTED": "the registry does not support this",
}
_STATUS_REMEDIES: Final[dict[int, str]] = {
    **dict.fromkeys((500, 502, 503, 504), RegistryUnavailable.default_remedy),
    407: PROXY_LOGIN_REMEDY,
    409: "the registry may protect this tag (immutable tags): allow it there, or leave the tag out",
    412: "the registry's policy forbids it (immutable tag, or a scan result): change it there, or leave the tag out",
    413: "raise the size limit of the registry or of the proxy in front of it",
}


def failure(answer: Answer, doing: str) -> MirrorsyncError:
    """Return the error for an answer that is not a success; `doing` names the request, such as "reading its tags"."""
    codes, message = _read(answer)
    meaning = next((one for one in _MEANINGS if one.fits(answer, codes, message)), None) or _general(answer, codes)
    text = f": {message}" if message else " with a web page" if meaning.web_page else ""
    remedy = (meaning.kind is RateLimited and limits.remedy(answer)) or meaning.remedy
    return meaning.kind(f"{doing}: {_server(answer, codes)} answered {answer.status}{text}", remedy=remedy)


def _server(answer: Answer, codes: Sequence[str]) -> str:
    """Return the server that answered: only a registry sends the error codes of the distribution spec."""
    proxy = printable(answer.proxy)
    if answer.status == 407:
        return f"the proxy {proxy}".rstrip()
    return f"the registry or the proxy {proxy}" if proxy and not codes else "the registry"


def _general(answer: Answer, codes: Sequence[str]) -> _Meaning:
    """Return the meaning of an error answer by its first code, or by its status."""
    code = codes[0] if codes else ""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(answer.status) or RegistryFailure
    if answer.status in (401, 403) and kind not in (Unauthorized, Denied):
        kind = _BY_STATUS[answer.status]
    if answer.status == 400 and b"HTTPS server" in answer.body:
        return _Meaning(kind, "the host speaks TLS: remove plain_http for it from the spec")
    return _Meaning(kind, _REMEDIES.get(code) or _STATUS_REMEDIES.get(answer.status, ""))


def checked(answer: Answer, doing: str, now: float, known: frozenset[int] = frozenset()) -> Answer:
    """Return `answer` if it is a success or has a `known` status. now: seconds since the epoch, for Retry-After.

    Raises: Transient for errors that are worth a retry, the error of `failure` for the others.
    """
    if answer.ok or (answer.status in known and not _is_rate_limit(answer)):
        return answer
    error = failure(answer, doing)
    if isinstance(error, RateLimited):
        raise Transient(error, status=429, retry_after=retry_after(answer, now), sent=answer.sent)
    if answer.status in RETRIED_STATUSES:
        raise Transient(error, status=answer.status, retry_after=retry_after(answer, now), sent=answer.sent)
    raise error


def throttles(answer: Answer) -> bool:
    """Return whether an answer says that its host gets too many requests; some say it in the body only (ECR)."""
    return answer.status in _THROTTLING or (answer.status >= 400 and _is_rate_limit(answer))


def _is_rate_limit(answer: Answer) -> bool:
    return b"TOOMANYREQUESTS" in answer.body and "TOOMANYREQUESTS" in codes(answer)


def codes(answer: Answer) -> list[str]:
    """Return the distribution spec's error codes in the body of an answer."""
    return _read(answer)[0]


def _read(answer: Answer) -> tuple[list[str], str]:
    """Return the error codes and one line of text: of the spec's `errors`, of Docker Hub's `details`, or nothing."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        # HTML and plain text come from a proxy, and say less than the status.
        return [], ""
    if not isinstance(body, dict):
        return [], ""
    errors = body.get("errors")
    if not isinstance(errors, list):
        text = body.get("details") or body.get("message") or body.get("error")
        return [], printable(text, 300) if isinstance(text, str) else ""
    found = [error for error in errors if isinstance(error, dict)]
    texts = [_text(error) for error in found]
    return [str(error.get("code", "")).upper() for error in found], "; ".join(text for text in texts if text)


def _text(error: dict[str, object]) -> str:
    code, message = error.get("code"), error.get("message")
    parts = [part for part in (code, message) if isinstance(part, str) and part]
    return printable(" ".join(parts), 300)
