"""What is said of a server that other machines can reach."""

from __future__ import annotations

import pytest

from mirrorsync.serve.exposure import exposure


@pytest.mark.parametrize(
    ("writable", "tls", "logins", "words", "not_words"),
    [
        (False, False, False, ["without TLS and passwords", "can pull all", "--tls-cert and --htpasswd"], ["push"]),
        (True, False, False, ["without TLS and passwords", "can pull, push and delete all"], []),
        (False, True, False, ["without passwords", "can pull all", "--htpasswd adds"], ["TLS", "push"]),
        (True, True, False, ["without passwords", "can pull, push and delete all"], ["TLS"]),
        (False, False, True, ["without TLS", "passwords and images are sent readable", "--tls-cert"], ["can pull"]),
        (True, False, True, ["without TLS", "passwords and images are sent readable", "--tls-cert"], ["can pull"]),
    ],
)
def test_an_exposed_server_is_warned_about_by_what_it_lacks(
    writable: bool, tls: bool, logins: bool, words: list[str], not_words: list[str]
) -> None:
    text = exposure("0.0.0.0", writable=writable, tls=tls, logins=logins)
    assert text.startswith("listening on 0.0.0.0 ")
    assert [word for word in words if word not in text] == []
    assert [word for word in not_words if word in text] == []


@pytest.mark.parametrize("writable", [False, True])
def test_a_server_with_tls_and_logins_is_not_warned_about(writable: bool) -> None:
    assert exposure("0.0.0.0", writable=writable, tls=True, logins=True) == ""
