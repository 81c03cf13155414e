"""Words in answers: which mean the same, which are units, which are numbers."""

from __future__ import annotations

import re
from fractions import Fraction

from eprli_lab.grading.tree import EMPTY, INFINITY, REALS, Node, Num

SAME_WORDS: dict[str, Node] = {
    **dict.fromkeys(
        ("no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set",
         "there is no solution", "there are no solutions", "无解"),
        EMPTY,
    ),
    **dict.fromkeys(
        ("infinitely many", "infinitely many solutions", "infinite", "infinity", "infinitely", "无穷"), INFINITY,
    ),
    **dict.fromkeys(("all real numbers", "all reals", "real numbers", "all real", "any real number"), REALS),
}  # fmt: skip


def plain_words(words: str) -> str:
    """Lower case, without punctuation, LaTeX's escapes, doubled spaces."""
    return " ".join(re.sub(r"\\[a-zA-Z]*|[.,!?;\"'`{}$]", " ", words.lower()).split())


_CJK = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_PLACES = {"十": 10, "百": 100, "千": 1000}


def as_number(words: str) -> Num | None:
    """The Chinese numeral from 0 to 9999 that these characters are."""
    text = words.strip()
    if not text or any(c not in _CJK and c not in _PLACES for c in text):
        return None
    total, digit = 0, None
    for c in text:
        if c in _CJK:
            if digit is not None and digit != 0:
                return None
            digit = _CJK[c]
        else:
            total += _PLACES[c] * (1 if digit is None else digit)
            digit = None
    return Num(Fraction(total + (digit or 0)))


_CURRENCY = {
    "dollar": "$", "usd": "$", "us$": "$", "euro": "€", "eur": "€", "pound": "£", "gbp": "£", "yen": "¥", "yuan": "¥",
    "元": "¥", "cny": "¥", "rmb": "¥", "rupee": "₹", "rs": "₹",
}  # fmt: skip
_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "millimetre": "mm", "meter": "m", "metre": "m",
    "kilometer": "km", "kilometre": "km", "inch": "in", "inche": "in", "inches": "in", "foot": "ft", "feet": "ft",
    "yard": "yd", "mile": "mi",
    "gram": "g", "kilogram": "kg", "milligram": "mg", "liter": "l", "litre": "l", "milliliter": "ml",
    "millilitre": "ml", "second": "s",
    "sec": "s", "minute": "min", "hour": "h", "hr": "h", "pounds": "lb", "ounce": "oz", "degree": "degree",
    "deg": "degree",
    "square": "sq", "squared": "sq", "percent": "%", "per": "/", "radian": "rad", "person": "people", "米": "m",
    "厘米": "cm",
    "度": "degree", "sq": "sq", "cubic": "cu", "cubed": "cu", "mph": "mi/h", "kph": "km/h",
}  # fmt: skip


def unit_name(words: str) -> str:
    """One spelling of a unit: `square centimeters`, `cm^2`, `\\text{cm}^2` are `cm^2`. Empty for no unit."""
    text = words.strip().lower().rstrip(".")
    if not text:
        return ""
    parts = []
    for part in re.findall(r"[^\W\d_]+|\^-?\d+|[/$€£¥₹]|[^\s]", text.replace("\\", " ")):
        singular = part.removesuffix("s") if len(part) > 2 else part
        parts.append(_CURRENCY.get(singular) or _NAMES.get(part) or _NAMES.get(singular) or singular)
    out = ""
    power = ""
    for part in parts:
        if part in ("sq", "cu"):
            if out and not power and part == parts[-1]:
                out += "^2" if part == "sq" else "^3"
            else:
                power = "^2" if part == "sq" else "^3"
        elif part == "of" and not out:
            return ""
        else:
            out += ("" if not out or part[0] in "^/" or out[-1] == "/" else " ") + part + power
            power = ""
    return out + power


CURRENCIES = frozenset("$€£¥₹")
# words that make what stands before them no answer: a second guess, a negation, an alternative
NO_UNIT = re.compile(
    r"\b(?:or|and|not|maybe|perhaps|possibly|either|unless|if|except|than|but|no|approximately|about|times|minus|plus"
    r"|is|are|least|most|more|less|over|under|am|pm)\b|(?<!\^)(?<!\^-)\d|或|不"
)
