"""Users of an htpasswd file: bcrypt is read, other hash kinds are refused with what to do."""

from __future__ import annotations

import pytest

from mirrorsync.errors import UsageError
from mirrorsync.serve.htpasswd import cost_of, users_of

HASH = "$2y$05$" + "a" * 21 + "u" + "a" * 31


def test_users_are_read_as_htpasswd_and_others_write_them() -> None:
    text = f"# users of the site\n\none:{HASH}\ntwo:$2b$12${HASH[7:]}\r\n  three:$2a$10${HASH[7:]}  \n"
    users = users_of(text, "users")
    assert list(users) == ["one", "two", "three"]
    assert [cost_of(hashed) for hashed in users.values()] == [5, 12, 10]
    assert users_of("", "users") == {}


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("x:$apr1$salt$hash", "line 1 of users of user x has a hash of another kind (MD5, ht", "htpasswd -B users x"),
        ("x:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "another kind (SHA-1)", "htpasswd -B users x"),
        ("x:$6$salt$hash", "another kind (SHA-512)", "htpasswd -B users x"),
        ("x:$argon2id$v=19$m=65536$x", "another kind (Argon2)", "htpasswd -B users x"),
        ("x:plain-password", "has no bcrypt hash", "htpasswd -B users x"),
        (f"x:{HASH.replace('u', 'z')}", "has no bcrypt hash", "htpasswd -B users x"),  # a salt that bcrypt rejects
        ("x:$2y$05$short", "has no bcrypt hash", "htpasswd -B users x"),
        (f"x:{HASH.replace('05', '31', 1)}", "has a bcrypt cost of 31; the limits are 4 and 16", "htpasswd -B users x"),
        (f"ok:{HASH}\nonly-a-name", "line 2 of users is not USER:HASH", "htpasswd -B"),
        (f":{HASH}", "line 1 of users is not USER:HASH", "htpasswd -B"),
        (f"x:{HASH}\nx:{HASH}", "line 2 of users is the second one of user x", "delete one"),
    ],
)  # fmt: skip
def test_other_lines_are_refused_with_a_remedy_and_without_the_hash(text: str, message: str, remedy: str) -> None:
    with pytest.raises(UsageError) as raised:
        users_of(text, "users")
    assert message in raised.value.message
    assert remedy in raised.value.remedy
    for line in text.splitlines():
        secret = line.partition(":")[2]
        assert not secret or secret not in f"{raised.value.message} {raised.value.remedy}"
