"""A reason: why something was not analysed, or what to be careful about, as a stable code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A stable machine-readable code and one sentence for people; never holds patient data."""

    code: str
    text: str

    def as_sentence(self) -> Reason:
        """Return the same with a capital at its beginning and a full stop at its end."""
        text = self.text.strip().rstrip(".")
        return Reason(code=self.code, text=f"{text[:1].upper()}{text[1:]}.")
