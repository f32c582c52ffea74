"""The page that a browser gets: images with their sizes, and the command to pull each. Without script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Final
from urllib.parse import urlencode

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Size:
    """The size of an image in bytes, None if it cannot be read; note: what to say of it."""

    content: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One image. tag: "" for a repository without tags."""

    repository: str
    tag: str
    size: Size


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows.

    host: as the client wrote it, for the commands. secure: whether it is reached with TLS, ours or a proxy's. images,
    repositories, matching: how many there are, and how many images match `find`. next: the query of the next page, "".
    label: which generation is shown, "" for the whole store.
    """

    host: str
    rows: Sequence[Row]
    images: int
    repositories: int
    matching: int
    find: str = ""
    next: str = ""
    secure: bool = False
    writable: bool = False
    label: str = ""


class _Markup(str):
    """HTML that is complete; all other text is escaped when it is filled in."""

    __slots__ = ()


_STYLE: Final = _Markup("""
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem; margin: 0 }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .3rem }
form { display: flex; gap: .5rem; margin: 1rem 0 }
input { flex: 1; min-width: 0; max-width: 30rem; font: inherit }
button { font: inherit }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: baseline; padding: .3rem 1.5rem .3rem 0; border-bottom: 1px solid #8886 }
th { font-weight: normal; opacity: .7 }
th:nth-child(1), td:nth-child(1) { width: 25% }
th:nth-child(2), td:nth-child(2) { width: 15% }
code { font: .9em ui-monospace, monospace; user-select: all }
footer { margin-top: 2rem; opacity: .8 }
footer code { display: inline-block }
@media (max-width: 44rem) {
  table, tbody, tr, td { display: block; width: auto !important }
  thead { display: none }
  tr { border-bottom: 1px solid #8886; padding: .4rem 0 }
  td { border: 0; padding: 0 }
}
""")
_DOCUMENT: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Images at {host}</title>
<style>{style}</style>
</head>
<body>
<h1>Images at {host}</h1>
<p>{label}{images} in {repositories}; {mode}.</p>
<form><input type="search" name="find" value="{find}" placeholder="part of a name or tag" aria-label="Find">
<button>Find</button></form>
{found}{sections}{next}<footer><p>A size is that of all platforms of an image, compressed.</p>{plain}</footer>
</body>
</html>
"""
_SECTION: Final = """<section>
<h2>{repository}</h2>
<table>
<thead><tr><th>Tag</th><th>Size</th><th>Pull</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</section>
"""
_ROW: Final = """\
<tr><td>{tag}</td><td>{size}</td><td><code>docker pull {host}/{repository}:{tag}</code></td></tr>
"""
_WITHOUT_TAGS: Final = "<tr><td>no tags</td><td></td><td></td></tr>\n"
_PLAIN: Final = """
<p>This registry has no TLS. <code>podman pull</code> needs <code>--tls-verify=false</code>; docker needs
<code>{host}</code> in <code>insecure-registries</code>, unless it is a loopback address.</p>"""

# No script, nothing from elsewhere, and no style but ours.
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def html(page: Page) -> str:
    """Return the page as HTML."""
    host = pull_host(page.host, secure=page.secure)
    sections = (_section(name, list(rows), host) for name, rows in groupby(page.rows, lambda row: row.repository))
    found = _fill("<p>Found {images}.</p>\n", images=_count(page.matching, "image", "images")) if page.find else ""
    return _fill(
        _DOCUMENT,
        host=host,
        style=_STYLE,
        images=_count(page.images, "image", "images"),
        repositories=_count(page.repositories, "repository", "repositories"),
        mode="pushes and deletes are accepted" if page.writable else "read-only",
        label=f"{page.label}: " if page.label else "",
        find=page.find,
        found=found,
        sections=_joined(sections),
        next=_fill('<p><a href="?{query}">Next page</a></p>\n', query=page.next) if page.next else "",
        plain="" if page.secure else _fill(_PLAIN, host=host),
    )


def next_query(row: Row, find: str) -> str:
    """Return the query of the page that begins after this row."""
    return urlencode({**({"find": find} if find else {}), "after": f"{row.repository}:{row.tag}"})


def pull_host(host: str, *, secure: bool) -> str:
    """Return a host as docker, podman and others take it in the name of an image.

    They read the part before the first slash as a host only if it has a dot or a colon, or is `localhost`.
    """
    return host if re.search(r"[.:]", host) or host == "localhost" else f"{host}:{443 if secure else 80}"


def is_host(text: str) -> bool:
    """Return whether a Host header is a host, and so safe in a command that people copy into their shell."""
    return _HOST.fullmatch(text) is not None


def _section(repository: str, rows: Iterable[Row], host: str) -> _Markup:
    filled = (
        _fill(_ROW, tag=row.tag, size=_size(row.size), host=host, repository=repository)
        if row.tag
        else _Markup(_WITHOUT_TAGS)
        for row in rows
    )
    return _fill(_SECTION, repository=repository, rows=_joined(filled))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _size(size: Size) -> str:
    if size.content is None:
        return size.note
    shown, unit = float(size.content), 0
    while shown >= 999.95 and unit < len(_UNITS) - 1:  # 999.95 kB would be shown as 1000.0 kB
        shown, unit = shown / 1000, unit + 1
    number = f"{shown:.1f} {_UNITS[unit]}" if unit else f"{size.content} B"
    return f"{size.note} {number}".lstrip()


def _joined(parts: Iterable[_Markup]) -> _Markup:
    return _Markup("".join(parts))


def _fill(template: str, **values: object) -> _Markup:
    """Fill in values; all are escaped but those that are markup."""
    return _Markup(
        template.format_map(
            {key: value if isinstance(value, _Markup) else escape(str(value)) for key, value in values.items()}
        )
    )
