"""Images whose content cannot be read stay behind; the whole way is in tests/app/test_bundling.py."""

from __future__ import annotations

import pytest

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.digest import Digest
from mirrorsync.plan.model import Plan, SpecStamp
from mirrorsync.sync.bundle.unreadable import without


def test_content_that_no_image_needs_ends_the_run_instead_of_another_attempt() -> None:
    lost = ContentNotFound("it is gone")
    with pytest.raises(ContentNotFound) as raised:
        without(Plan("", SpecStamp("", Digest.of(b""))), {Digest.of(b"lost"): lost})
    assert raised.value is lost
