"""What other machines can do to a server, if that is more than an operator may expect."""

from __future__ import annotations


def exposure(host: str, *, writable: bool, tls: bool, logins: bool) -> str:
    """Return the warning for a server that other machines can reach at `host`; "" if there is nothing to warn of.

    logins: whether a login is needed, at least for writing. With `--anonymous-pull` reading is meant to be open.
    """
    right = "pull, push and delete" if writable else "pull"
    if not logins:
        lacks = "passwords" if tls else "TLS and passwords"
        add = "--htpasswd adds passwords" if tls else "--tls-cert and --htpasswd add them"
        return f"listening on {host} without {lacks}: every client that can reach it can {right} all images ({add})"
    if not tls:
        return (
            f"listening on {host} without TLS: passwords and images are sent readable for the whole network"
            " (--tls-cert adds TLS; or listen on a loopback address, behind a proxy that has it)"
        )
    return ""
