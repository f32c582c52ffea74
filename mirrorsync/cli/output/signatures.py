"""What signatures prove, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from mirrorsync.signing import Verdict


def signature_lines(verdict: Verdict) -> Iterator[str]:
    """Yield a line for what is proven, and one for each signature that does not count."""
    if verdict.signers:
        names = ", ".join(dict.fromkeys(map(str, verdict.signers)))
        if not verdict.threshold:
            yield f"signed by {names}, not verified: no signers are configured (--signers FILE)"
        elif verdict.met:
            yield f"signed by {names}"
        else:
            yield f"signed by {names}: {len(verdict.people)} of {verdict.threshold} people; accepted (--allow-unsigned)"
    elif verdict.threshold:
        yield f"not signed, and {verdict.threshold} people should; accepted (--allow-unsigned)"
    for one in verdict.rejected:
        yield f"signature {one.number} does not count: {one.reason}"
