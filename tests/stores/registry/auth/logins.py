"""The image of the registry that asks for logins, and what clients know: the right login, and a wrong one."""

from __future__ import annotations

from mirrorsync.hosts import HostSettings
from mirrorsync.secret import Secret
from tests.parts.auth_service import PASSWORD, USER
from tests.parts.images import image, layer

IMAGE = image([layer({"a": b"1"})])
LOGIN = HostSettings(username=USER, password=Secret(PASSWORD), plain_http=True)
WRONG = HostSettings(username=USER, password=Secret("canary-wrong-password"), plain_http=True)
