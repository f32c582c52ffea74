"""A string that must never be shown."""

from __future__ import annotations

from typing import Final


class Secret:
    """Holds a password or token, and shows it only to the caller of `reveal()`.

    Its `repr` and `str` are asterisks, so that a dataclass with a secret can be printed, logged or end up in a
    traceback without revealing it. It compares by value, so that two specs can be compared.
    """

    __slots__ = ("_value",)
    HIDDEN: Final = "********"

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the code that sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.HIDDEN})"

    def __str__(self) -> str:
        return self.HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)
