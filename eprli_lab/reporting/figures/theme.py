"""A matplotlib SVG as a page can hold it inline: it follows the page's colours, light or dark, and its font.

Coordinates are rounded and what draws nothing is dropped, so that it is small; ids are unique within the page; a title
and a description are inside for those who cannot see it. The same figure gives the same bytes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping

from eprli_lab.escaping import visible
from eprli_lab.reporting.figures.palette import GRID, INK, PAPER, SOFT

VARIABLES = {  # of the page, each with what it is without one
    INK: "currentColor",
    "#000000": "currentColor",
    SOFT: "var(--soft,#57606a)",
    GRID: "var(--rule,#d8dee4)",
    PAPER: "var(--page,#fff)",
}
CSS = """
.fig svg { display: block; width: 100%; height: auto; margin: 0 auto; overflow: visible; }
.fig { color: var(--ink, currentColor); }
.fig .fig-wide { display: none; }
.fig .fig-narrow { max-width: 30rem; }
@media (min-width: 640px) {
  .fig .fig-wide { display: block; max-width: 54rem; }
  .fig .fig-narrow { display: none; }
}
@media print {
  .fig { break-inside: avoid; }
  .fig .fig-wide { display: block; max-width: none; }
  .fig .fig-narrow { display: none; }
}
.swatch { vertical-align: middle; margin-right: .35em; }
"""
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_NO_TURN = re.compile(r"rotate\(-?0 [^)]*\)")
_COLOUR = re.compile("|".join(VARIABLES))
_OPACITY = re.compile(r"(?:^|;)opacity:")  # of a group is not that of each member
_SIZE = re.compile(r"font-size:[^;]+")
# What a browser does anyhow, or what the root says for all.
_NEEDLESS = {
    "stroke-dashoffset:0", "stroke-linejoin:miter", "stroke-linecap:butt", "stroke-width:1", "stroke-width:1.0",
    "fill-rule:nonzero",
}  # fmt: skip


def themed(svg: str, name: str, title: str, alt: str, full: Mapping[str, str] | None = None) -> str:
    """For a page; `name`: unique in it, "<figure>-wide" or "-narrow", of which the second is its class.

    `full`: shortened label -> what it stands for, which a pointer shows.
    """
    name = _as_id(name)
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == _SVG + "metadata" or child.find(_SVG + "style") is not None or _is_nothing(child):
                parent.remove(child)
    _rename(root, name)
    for element in root.iter():
        _shrink(element)
        if element.tag == _SVG + "text":
            _name_whole(element, full or {})
    _unwrap(root)
    _one_size(root)
    for key, value in _root(root.get("viewBox", ""), name).items():
        root.set(key, value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    for place, (tag, text) in enumerate((("title", title), ("desc", alt))):
        words = ET.Element(_SVG + tag, {"id": f"{name}-{tag}"})
        words.text = visible(text)
        root.insert(place, words)
    ET.register_namespace("", _SVG[1:-1])
    out = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    return re.sub(r">\s+<", "><", out).replace(" />", "/>")


def _as_id(name: str) -> str:
    """Fit for an id, which may hold no space; unlike that of any other name."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return plain if plain == name else f"f{zlib.crc32(name.encode()):08x}-{plain}"


def _root(view: str, name: str) -> dict[str, str]:
    return {
        "viewBox": _NUMBER.sub(_rounded, view),
        "class": f"fig-{name.rpartition('-')[2]}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "fill": "currentColor",
        "stroke-linejoin": "round",
    }


def _is_nothing(element: ET.Element) -> bool:
    """A path without fill and stroke."""
    style = element.get("style", "")
    return element.tag == _SVG + "path" and "fill: none" in style and "stroke:" not in style


def _rename(root: ET.Element, name: str) -> None:
    """Ids that something points to, counted; no others."""
    pointed = set()
    for element in root.iter():
        href = element.attrib.pop(_HREF, None)
        if href is not None:
            element.set("href", href)
        pointed |= {m for value in element.attrib.values() for m in re.findall(r"(?:url\(|^)#([^)]+)\)?$", value)}
        pointed |= set(re.findall(r"url\(#([^)]+)\)", element.get("style", "")))
    new: dict[str, str] = {}
    for element in root.iter():
        found = element.attrib.pop("id", None)
        if found is not None and found in pointed:
            new[found] = f"{name}-{len(new)}"
            element.set("id", new[found])
    for element in root.iter():
        for key in ("href", "clip-path", "style"):
            value = element.get(key)
            if value is not None and "#" in value:
                element.set(key, re.sub(r"#([\w-]+)", lambda m: "#" + new.get(m.group(1), m.group(1)), value))


def _shrink(element: ET.Element) -> None:
    """Fewer digits, colours of the page, and no word that changes nothing."""
    digits = _finer if element.get("id") else _rounded  # a marker's shape is small
    for key in ("d", "x", "y", "width", "height", "transform"):
        value = element.get(key)
        if value is not None:
            value = " ".join(_NUMBER.sub(digits, value).split())
            element.set(key, re.sub(r" ?([A-Za-z]) ?", r"\1", value) if key == "d" else value)
    if _NO_TURN.fullmatch(element.get("transform", "")):
        del element.attrib["transform"]
    style = element.attrib.pop("style", None)
    if style is not None:
        parts = (part.strip().replace(": ", ":") for part in style.split(";"))
        kept = [p for p in parts if p and p not in _NEEDLESS and not p.startswith("font-family")]
        if element.tag == _SVG + "text":
            kept = [p for p in kept if p not in (f"fill:{INK}", "text-anchor:start")]
        text = _COLOUR.sub(lambda m: VARIABLES[m.group()], ";".join(kept))
        if text:
            element.set("style", text)


def _name_whole(text: ET.Element, full: Mapping[str, str]) -> None:
    content = text.text or ""
    whole = [name for short, name in full.items() if short != name and short in content]
    if whole:
        title = ET.SubElement(text, _SVG + "title")
        title.text = visible(", ".join(whole))


def _one_size(root: ET.Element) -> None:
    """The commonest size of its text is said once."""
    texts = [t for t in root.iter(_SVG + "text") if _SIZE.search(t.get("style", ""))]
    sizes = Counter(m.group() for t in texts if (m := _SIZE.search(t.get("style", ""))))
    if not sizes:
        return
    usual = min(sizes, key=lambda size: (-sizes[size], size))
    root.set("style", usual)
    for text in texts:
        left = [part for part in text.get("style", "").split(";") if part != usual]
        text.set("style", ";".join(left))
        if not left:
            del text.attrib["style"]


def _unwrap(parent: ET.Element) -> None:
    """Groups that say nothing give way to what is in them; what all members of a group say, the group says."""
    out: list[ET.Element] = []
    for child in parent:
        out += _without_group(child)
    parent[:] = out
    for child in out:
        _unwrap(child)
    if parent.tag != _SVG + "g" or len(parent) < 2:
        return
    styles = {child.get("style") for child in parent}
    style = styles.pop() if len(styles) == 1 else None
    if style and "style" not in parent.attrib and not _OPACITY.search(style):
        parent.set("style", style)
        for child in parent:
            del child.attrib["style"]


def _without_group(element: ET.Element) -> Iterator[ET.Element]:
    if element.tag == _SVG + "g" and not element.attrib:
        for child in element:
            yield from _without_group(child)
    elif not (element.tag == _SVG + "defs" and not len(element)):
        yield element


def _rounded(match: re.Match[str]) -> str:
    return _short(round(float(match.group()), 1))


def _finer(match: re.Match[str]) -> str:
    return _short(round(float(match.group()), 2))


def _short(value: float) -> str:
    text = f"{value + 0.0:g}"
    return "0" if text == "-0" else text
