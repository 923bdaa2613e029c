"""Characters that look like those YAML is made of, or like nothing, and are others.

Web pages, word processors and keyboards of other scripts put them into a file: no-break spaces,
full-width colons, dashes and curly quotes. A message names them, since they cannot be told by eye.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

_LIKE = {
    **dict.fromkeys("“”„‟«»″", '"'),
    **dict.fromkeys("‘’‚‛‹›′", "'"),  # noqa: RUF001 - these are what is looked for
    **dict.fromkeys("\u2212\u2022\u00b7", "-"),  # a minus and bullets
    "\u3001": ",",
    "\u2236": ":",
}
"""What is meant by characters that Unicode itself does not derive from ASCII."""

_JOINERS = "\u200c\u200d"
"""Invisible, but letters of some scripts need them."""

_SYNTAX = ("", *" :,[]{}\"'#")
"""What YAML itself would have read, had it been typed."""

_NOT_YAML = re.compile(r"\"[^\"]*\"|'[^']*'|(?:^|(?<=\s))#.*")
"""Quoted texts and comments of a line, where any character may stand."""


class Odd(NamedTuple):
    """A character that is not what it seems.

    Args:
        at: Its position in the text.
        character: The character.
        meant: What to type in its place; empty for nothing.
    """

    at: int
    character: str
    meant: str

    @property
    def name(self) -> str:
        """The character's name and number, as in ``no-break space (U+00A0)``."""
        name = unicodedata.name(self.character, "character").lower().replace("full", "full-")
        return f"{name} (U+{ord(self.character):04X})"

    @property
    def remedy(self) -> str:
        """What to type instead."""
        if self.meant.isspace():
            return "type a space"
        return f"type {self.meant!r}" if self.meant else "remove it"


def odd_characters(text: str) -> list[Odd]:
    """Return all characters of a text that are not what they seem."""
    if text.isascii():
        return []
    found = ((at, one, _meant(one)) for at, one in enumerate(text) if not one.isascii())
    return [Odd(at, one, meant) for at, one, meant in found if meant is not None]


def misleading(text: str) -> Odd | None:
    """Return the first character by which an unquoted text is not what it seems.

    Blanks and what cannot be seen are that anywhere; quotes at both ends, because they do not
    quote; a dash at the beginning, because it begins no item; a number sign after a blank, because
    it begins no comment. Elsewhere dashes and quotes may belong to the name of a file.
    """
    for odd in odd_characters(text):
        first, last = odd.at == 0, odd.at == len(text) - 1
        hidden = not odd.meant.strip()
        quote = odd.meant in ('"', "'") and (first or last)
        comment = odd.meant == "#" and text[odd.at - 1 : odd.at].isspace()
        if hidden or quote or comment or (odd.meant == "-" and first):
            return odd
    return None


def misplaced(line: str, *, quotes: bool = False) -> Odd | None:
    """Return the first character by which a line of YAML may be wrong, outside quotes and comments.

    A dash is one only where it would begin an item of a list.

    Args:
        line: The line.
        quotes: Whether only quotes can be the reason.
    """
    plain = _NOT_YAML.sub(lambda match: " " * len(match[0]), line)
    begin = len(plain) - len(plain.lstrip())
    for odd in odd_characters(plain):
        if quotes and odd.meant not in ('"', "'"):
            continue
        if odd.meant in _SYNTAX or (odd.meant == "-" and odd.at == begin):
            return odd
    return None


def told(text: object) -> str:
    """Return what to say of a text that is refused and has such a character; or nothing.

    Of a mapping its keys are looked at: with a full-width colon one holds its value too.
    """
    if isinstance(text, Mapping):
        return next(filter(None, map(told, text)), "")
    if not isinstance(text, str) or not (odd := next(iter(odd_characters(text)), None)):
        return ""
    return f"; the {odd.name} is not what it looks like: {odd.remedy}"


def _meant(character: str) -> str | None:
    """Return what to type in place of a character; None if it is what it seems."""
    kind = unicodedata.category(character)
    if kind == "Zs":
        return " "
    if kind == "Cf":
        return None if character in _JOINERS else ""
    if kind == "Pd":
        return "-"
    meant = _LIKE.get(character, unicodedata.normalize("NFKC", character))
    return meant if len(meant) == 1 and meant.isascii() else None
