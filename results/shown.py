"""What may be shown: addresses without their secrets, text without what a terminal would obey.

Everything that becomes part of a message, a file or a page passes here: where an address becomes
text (``shown_address``), and once more where text leaves, because the errors of libraries and the
names in a user's model hold what they like (``shown``).
"""

from __future__ import annotations

import re
import unicodedata

AZURE = ("abfs", "abfss", "az")
"""Kinds of address in which a container, which is no secret, stands before the ``@``."""

_ADDRESS = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]+)://([^\s<>]+)")
"""It is looked for once a word, so that a long one takes no time."""

_PORT = re.compile(r":\d*\Z")
_BEHIND = "'\")],.;:"
"""What may follow an address in a sentence."""

_HARMLESS = "\n\t\u200c\u200d"
"""The ends of lines, tabs, and joiners that letters of some scripts need."""

_BOLD = re.compile("\x1b\\[[01]m")
"""Keras has parts of its messages printed bold."""


def shown_address(uri: str) -> str:
    """Return a URI without credentials, options and fragment; what is no URI as it is.

    A secret that holds a ``/`` that should be written as ``%2F`` is left out, too.
    """
    scheme, colon, rest = uri.partition("://")
    return f"{scheme}://{_place(scheme, rest)}" if colon else uri


def without_secrets(text: str) -> str:
    """Return a text with every address in it as :func:`shown_address` returns it."""
    return _ADDRESS.sub(_in_text, text)


def visible(text: str) -> str:
    r"""Return a text in which what cannot be seen is written out, as in ``\x1b`` or ``\u202e``.

    Those are control characters, marks that turn the direction of writing, separators of lines and
    halves of characters; not the ends of lines and tabs.
    """
    text = _BOLD.sub("", text)
    if text.isprintable():
        return text
    return "".join(one if _is_plain(one) else _written_out(one) for one in text)


def shown(text: str) -> str:
    """Return a text as it may be shown: visible, and without secrets."""
    return visible(without_secrets(text))


def _in_text(match: re.Match[str]) -> str:
    word, rest = match.groups()
    scheme = word.lstrip("0123456789+.-")
    address = rest.rstrip(_BEHIND)
    return f"{word}://{_place(scheme, address)}{rest[len(address) :]}"


def _place(scheme: str, rest: str) -> str:
    """Return host and path of what follows ``://``, and the container where that is one."""
    plain = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = plain.partition("/")
    user, at, host = host.rpartition("@")
    if not at and ":" in host and not _PORT.search(host):  # a secret that holds a slash
        user, at, behind = plain.rpartition("@")
        host, slash, path = behind.partition("/") if at else ("...", "", "")
    container = user.partition(":")[0] if scheme.lower() in AZURE else ""
    return f"{container}{'@' if container else ''}{host}{slash}{path}"


def _is_plain(one: str) -> bool:
    return one in _HARMLESS or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _written_out(one: str) -> str:
    return one.encode("unicode_escape").decode()
