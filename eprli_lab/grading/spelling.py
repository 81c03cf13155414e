"""Spelling of an answer: Unicode, Markdown, LaTeX's looks. What two spellings of one answer differ by goes; no more."""

from __future__ import annotations

import re
import unicodedata

OPEN, CLOSE = "\x02", "\x03"  # around the words of a `\text{}` that are no mathematics

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufe0e\ufe0f]")
_CHARACTERS = {
    **dict.fromkeys("−–—‒﹣", "-"),
    **dict.fromkeys("×·⋅∙", r" \times "),
    **dict.fromkeys("…⋯", r"\ldots "),
    **dict.fromkeys("“”„‘", ""),
    "÷": r" \div ", "≤": r" \le ", "≥": r" \ge ", "⩽": r" \le ", "⩾": r" \ge ", "≠": r" \ne ", "≈": r" \approx ",
    "∞": r"\infty ", "√": r"\sqrt ", "π": r"\pi ", "°": r"^\circ ", "∪": r" \cup ", "∩": r" \cap ", "∈": r" \in ",
    "∅": r"\emptyset ", "±": r" \pm ", "∓": r" \mp ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "ℝ": r"\mathbb{R}",
    "∠": r"\angle ", "′": "'", "’": "'", "、": ", ", "【": "[", "】": "]", "〈": r"\langle ", "〉": r"\rangle ",
    "。": ".",
    "⁄": "/", "∕": "/", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "ℤ": r"\mathbb{Z}", "λ": r"\lambda ",
    "φ": r"\phi ",
}  # fmt: skip
_TABLE = str.maketrans(_CHARACTERS)


def plain_unicode(s: str) -> str:
    """ASCII and LaTeX for full-width, raised, and mathematical characters; zero-width ones go."""
    if s.isascii():
        return s
    s = _INVISIBLE.sub("", s)
    s = _SUPERSCRIPT.sub(lambda m: "^{" + m[0].translate(_SUPERSCRIPTS) + "}", s)
    s = _SUBSCRIPT.sub(lambda m: "_{" + m[0].translate(_SUBSCRIPTS) + "}", s)
    s = _VULGAR.sub(_vulgar, s)
    s = re.sub(r"√\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}", s)
    return unicodedata.normalize("NFKC", s.translate(_TABLE)).translate(_TABLE)


def _vulgar(match: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return rf"\frac{{{over}}}{{{under}}}"


_LOOKS = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|Biggl|Biggr|big|Big|bigg|Bigg|middle|displaystyle|textstyle"
    r"|scriptstyle|limits|large|Large|LARGE|huge|Huge|small|normalsize|boldsymbol|bm|nolimits|bf|rm|it)(?![a-zA-Z])"
)
_COLOR = re.compile(r"\\(?:color|textcolor)\s*\{[^{}]*\}")
_ENVIRONMENT = re.compile(
    r"\\(?:begin|end)\s*\{(?:aligned|align\*?|gathered|gather\*?|equation\*?|split|center|displaymath|math)\}"
)
_MATH = re.compile(r"\\[()\[\]](?!\s*\d+\s*(?:pt|em|ex)\])")
_TEXT = re.compile(
    r"\\(text(?:bf|rm|it|tt|sf|normal)?|mathrm|mathbf|mathit|mathsf|mathtt|mbox|hbox|operatorname\*?|emph|underline)"
    r"\s*\{([^{}]*)\}"
)
_MARKDOWN = [
    re.compile(r"\*\*\s*((?:(?!\*\*).)+?)\s*\*\*", re.DOTALL),
    re.compile(r"__\s*((?:(?!__).)+?)\s*__", re.DOTALL),
    re.compile(r"`+\s*([^`]+?)\s*`+", re.DOTALL),
    re.compile(r"\*\s*([^*]+?)\s*\*", re.DOTALL),
]
_MEANS = re.compile(  # "the answer is", and what else announces an answer
    rf"[{OPEN}\s]*(?:(?:so|thus|hence|therefore)[,\s]+)?"
    rf"(?:(?:the\s+)?(?:final\s+|correct\s+)?(?:answer|result|value|solution)\s*(?:is|are|=|:)|答案\s*(?:是|为|:)?"
    rf"|(?:option|choice)(?=\s*{CLOSE}?\s*\(?[A-J]\)?\s*$))[\s:]*({CLOSE}?)\s*",
    re.IGNORECASE,
)
_REASON = re.compile(rf"[\s\\]*[,(]\s*{OPEN}?\s*(?:by|since|because|using|via)\b[^0-9]*$", re.IGNORECASE)


def unmarked(s: str) -> str:
    """Without Markdown's bold or code around the whole."""
    for mark in _MARKDOWN:
        match = mark.fullmatch(s)
        if match:
            return unmarked(match[1])
    return s


def clean(answer: str) -> str:
    r"""An answer without its looks: words of `\text{}` between OPEN and CLOSE, white space as it stands."""
    s = plain_unicode(answer).replace("\\$", "\x04").replace("$", " ").replace("\x04", "\\$")
    s = unmarked(undotted(_MATH.sub(" ", s)))
    s = _COLOR.sub(" ", _LOOKS.sub(" ", s))
    s = _ENVIRONMENT.sub(" ", s)
    for _ in range(4):  # wrappers in wrappers
        new = _TEXT.sub(_words, s)
        if new == s:
            break
        s = new
    s = s.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cfrac", "\\frac")
    s = unmarked(undotted(s))
    lead = _MEANS.match(s)
    if lead and lead.end() < len(s):
        opened = s[: lead.end()].count(OPEN) > s[: lead.end()].count(CLOSE)
        s = s[lead.end() :] if not opened else OPEN + s[lead.end() :]
        s = re.sub(rf"^{OPEN}([^{OPEN}{CLOSE}A-Za-z]*|\(?[A-J]\)?){CLOSE}", r" \1 ", s)
    return ungrouped(undotted(_REASON.sub("", s)))


def undotted(s: str) -> str:
    """Without white space around it and without a full stop; more dots are no full stop."""
    s = s.strip()
    before = s[:-1].rstrip()
    return before if s.endswith(".") and not before.endswith(".") else s


def ungrouped(s: str) -> str:
    """Without braces around the whole."""
    for _ in range(3):
        if not (s.startswith("{") and s.endswith("}")):
            break
        depth = 0
        for c in s[:-1]:
            depth += (c == "{") - (c == "}")
            if depth == 0:
                return s
        s = s[1:-1].strip()
    return s


_MATHEMATICS = re.compile(r"[\s\d.,+\-*/=()\[\]:;<>^!|]*")


def _words(match: re.Match[str]) -> str:
    """Numbers and single letters set in another type are mathematics; the rest are words."""
    content = match[2].strip()
    bare = content.replace(OPEN, "").replace(CLOSE, "")
    if not re.search(r"[^\W\d_]{2}|\d\s+[a-z]", bare) and re.search(r"[\d=^+]", bare):
        return f" {bare} "
    counted = re.fullmatch(r"(-?\d[\d.,/]*)\s+([^\d]+)", bare)
    if counted:
        return f" {counted[1]} {OPEN}{counted[2]}{CLOSE} "
    if _MATHEMATICS.fullmatch(bare) or (
        re.fullmatch(r"\(?[A-Za-z][).]?", bare) and not (match[1] in ("text", "mathrm") and re.fullmatch("[a-z]", bare))
    ):
        return f" {bare} "
    if re.fullmatch(r"[0-9A-F]*\d[0-9A-F]*", bare) or re.fullmatch(r"[^A-Za-z\d]*\d+[^A-Za-z]*", bare):
        return f" {bare} "
    if not bare or ("\\" in bare and not match[1].startswith("text") and match[1] != "mbox"):
        return f" {bare} "
    return f" {OPEN}{bare}{CLOSE} "
