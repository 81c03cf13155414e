"""The charts of a study's saved view in MLflow: what answers the question first and open, everything else folded below.

The layout is that of MLflow 3.17's own page: cards, each in a section, sections in order. What MLflow finds no card
for, it adds itself, to the section that is named as the metric without its last part; such a section is listed here
so that it is there, and folded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from eprli_lab.tracking import names

Charts = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # cards, sections
WHOLE_RUN = "Model metrics"  # MLflow's section of metrics without a folder
LAST, CURVE = "BAR", "LINE"  # of a card: the last values, one bar an arm; every value, one line an arm
# Our own sections, in this order: (title, kinds of card, which metrics). Those of FOLDED are there and not open: seeds
# are examined at different steps, and MLflow's mean line goes from one seed to the other.
OURS: tuple[tuple[str, tuple[str, ...], Callable[[str], bool]], ...] = (
    ("Score: at the end, and over generated tokens", (LAST, CURVE), lambda m: m == names.SCORE),
    ("Held-out accuracy at the end", (LAST,), lambda m: _is_accuracy(m)),
    ("Admission rate, by level", (CURVE,), lambda m: names.is_buffer(m, ("admission_rate",))),
    ("Entropy, by level", (CURVE,), lambda m: names.is_policy(m, ("entropy",))),
    ("Response length and updates", (CURVE,), lambda m: m in (names.RESPONSE_TOKENS, names.UPDATES)),
    ("Held-out accuracy over generated tokens", (CURVE,), lambda m: _is_accuracy(m)),
)
FOLDED = ("Held-out accuracy over generated tokens",)


def charts(metrics: Collection[str]) -> Charts:
    """Cards and sections for a study whose runs log `metrics`."""
    cards: list[dict[str, Any]] = []
    sections = []
    for number, (title, kinds, wanted) in enumerate(OURS):
        kept = sorted(filter(wanted, metrics))
        section = _section(f"ours-{number}", title) | {"display": title not in FOLDED, "columns": 2}
        sections += [section] if kept else []
        cards += [_card(kind, metric, f"ours-{number}") for metric in kept for kind in kinds]
    placed = {card["metricKey"] for card in cards}
    rest = sorted({_folder(m) for m in metrics if m not in placed}, key=lambda name: (name != WHOLE_RUN, name))
    return cards, sections + [_section(f"rest-{n}", name) for n, name in enumerate(rest)]


def _section(uuid: str, name: str) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": False, "isReordered": True, "deleted": False}


def _card(kind: str, metric: str, section: str) -> dict[str, Any]:
    """A bar or a line a group (arm); lines on the axis that the whole view has."""
    card = {
        "uuid": f"{section}-{kind}-{metric}",
        "type": kind,
        "metricKey": metric,
        "metricSectionId": section,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
    }
    return card if kind == LAST else card | CURVES


CURVES = {
    "lineSmoothness": 0,
    "scaleType": "linear",
    "xAxisScaleType": "linear",
    "range": {},
    "xAxisKey": "metric",
    "selectedXAxisMetricKey": names.TOKENS,
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}


def _folder(metric: str) -> str:
    return metric.rpartition("/")[0] or WHOLE_RUN


def _is_accuracy(metric: str) -> bool:
    return names.is_evaluation(metric) and names.quantity_of(metric) == "avg_at_k"
