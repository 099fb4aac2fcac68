"""Reading JSON that somebody else wrote: nothing is guessed, nothing is lost, nothing is overlooked.

Refused with a reason: bytes that aren't UTF-8, a key that stands twice, nesting that is too deep, NaN and Infinity, anything after
the value. Numbers keep their digits: fractions come as :class:`decimal.Decimal`.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from broker.errors import Malformed, Problem, TooLarge

#: Limits where a caller has no settings at hand; the settings have the same defaults.
MAX_BYTES = 4_000_000
MAX_DEPTH = 64

#: No measure in medicine needs more; FHIR asks for 18 digits.
MAX_EXPONENT = 400

_BOM = b"\xef\xbb\xbf"
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class _Twice(Exception):
    """A key stands twice in one object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(shown_key(key))
            seen.add(key)
    return found


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _fraction(digits: str) -> Decimal:
    number = Decimal(digits)
    if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("a number is out of range")  # int() of such a Decimal would fill the memory.
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_fraction)


def shown_key(key: str) -> str:
    """A property name as it may be shown: names that look like FHIR's, else a stand-in, because a name may hold anything."""
    return key if _PLAIN_KEY.fullmatch(key) else "(unreadable name)"


def depth(data: bytes, limit: int) -> bool:
    """Whether brackets nest deeper than ``limit``. Looks at brackets only; the text need not be JSON."""
    if data.count(b"{") + data.count(b"[") <= limit:
        return False
    level = 0
    for token in _BRACKETS.finditer(data):
        first = data[token.start()]
        if first in b"{[":
            level += 1
            if level > limit:
                return True
        elif first in b"}]":
            level -= 1
    return False


def _malformed(code: str, message: str, path: str = "$") -> Malformed:
    return Malformed(message, problems=(Problem(path, code, message),))


def read_json(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The value in ``data``.

    Raises TooLarge above ``max_bytes``, and Malformed that names what is wrong and where (byte, line and column), never the content.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"{len(data)} bytes; at most {max_bytes} are read.")
    data = data.removeprefix(_BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _malformed("not-utf8", f"not UTF-8 at byte {error.start}") from None
    if depth(data, max_depth):
        raise _malformed("too-deep", f"nested deeper than {max_depth} levels")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _decoder.raw_decode(text, start)
    except _Twice as error:
        raise _malformed("duplicate-key", f"the key {error} stands twice in one object") from None
    except json.JSONDecodeError as error:
        raise _malformed("not-json", f"not JSON at line {error.lineno}, column {error.colno}") from None
    except (ValueError, ArithmeticError):
        raise _malformed("bad-number", "holds a number that is not JSON or has too many digits") from None
    except RecursionError:
        raise _malformed("too-deep", f"nested deeper than {max_depth} levels") from None
    if text[end:].strip(" \t\r\n"):
        raise _malformed("trailing-data", "something follows the JSON value")
    return value
