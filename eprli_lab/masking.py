"""Credentials out of texts: whatever is printed, logged or kept goes through `mask`."""

from __future__ import annotations

import re

HIDDEN = "***"
# user:password@ of a URI. A password may hold an unencoded @ or /: up to the last @ before a blank or a quote.
_USERINFO = re.compile(r"""([A-Za-z][\w+.\-]*://[^\s:/?#@'"]*):[^\s'"]*@""")
_QUERY = re.compile(
    r"""([?&;\s](?:[\w\-]*(?:password|passwd|passphrase|secret|credential|signature)[\w\-]*|(?:[\w\-]*[_\-])?token|pwd|sig|api_?key"""
    r"""|access_?key(?:_?id)?)=)[^&;\s'"]+""",
    re.IGNORECASE,
)
_known: set[str] = set()


def remember(secret: str | None) -> None:
    """Hide this very text from here on, wherever it stands: a password that a library may quote by itself."""
    if secret and len(secret) >= 4:  # shorter ones would tear holes into ordinary words
        _known.add(secret)


def mask(text: str) -> str:
    """The text without credentials: `scheme://user:***@host`, `?password=***`, and every remembered secret as `***`."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    if "=" in text:
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return _USERINFO.sub(rf"\1:{HIDDEN}@", text) if "://" in text else text
