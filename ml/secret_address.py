"""Addresses of stores that may hold a password: how they are shown, and words in which the password must not be.

Not here: which addresses a store takes (ml/settings.py), connecting.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

_HIDDEN = "***"
# A password may hold what it should not (":", "/", "@"): hidden is all up to the last @.
_OF_USER = re.compile(r"(?<=://)([^:@/?#]*):(.*)@", re.DOTALL)
_OF_QUERY = re.compile(r"([?&][^=&#]*(?:password|passwd|token|secret)[^=&#]*=)([^&#]*)", re.IGNORECASE)


def shown(address: str) -> str:
    """Return the address with *** in the place of its password, if it has one."""
    return _OF_QUERY.sub(rf"\1{_HIDDEN}", _OF_USER.sub(rf"\1:{_HIDDEN}@", address))


def require_plain(address: str) -> None:
    """Raise ValueError if clients would read an address otherwise than it is meant, and tell parts of its password."""
    password = next((match[2] for match in _OF_USER.finditer(address)), "")
    if set(password) & set("/?#@[]"):
        raise ValueError(f"{shown(address)}: write / ? # @ [ ] in a password as %2F %3F %23 %40 %5B %5D")


def scrubbed(text: str, address: str) -> str:
    """Return a text, such as an error's, with *** wherever the password of `address` stands, in any spelling."""
    for password in sorted(set(_spellings(address)), key=len, reverse=True):
        text = text.replace(password, _HIDDEN)
    return text


def _spellings(address: str) -> Iterator[str]:
    found = [match[2] for pattern in (_OF_USER, _OF_QUERY) for match in pattern.finditer(address)]
    for password in filter(None, found):
        plain = unquote(password)
        yield from (password, plain, unquote_plus(password), quote(plain, safe=""), quote(plain), quote_plus(plain))
