"""A table of arms as a document: made once, printed as text, Markdown, LaTeX, CSV or HTML (printers/)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eprli_lab.reporting.controls import built_task, check_control
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.columns import PICKED, Column, Value, best, chosen, expanded, numbers_of
from eprli_lab.reporting.tables.verdicts import contrast_lines, examination_note, family_note, looks_note, verdicts

BOLD = "Bold: differs significantly from every other arm, seed by seed, after correction for arms and columns."
COMPARED = ("difference", "p_raw", "p_holm")  # columns under which stands what they are corrected over
# block of columns -> what stands under it; in the order of the document
NOTES = {
    "accuracy": "",
    "objectives": "[95%]: each comparison by itself, uncorrected",
    "training": "",
    "transfer": (
        "of a level's held-out accuracy, mean over levels; forward: before its training less at the start; "
        "backward: at the end less after its training; forgetting: at its best after an earlier level less at the end"
    ),
    "levels": "admitted: groups admitted / generated; clipped: fraction of tokens at the low / high clip bound",
}
TITLES = {
    "accuracy": "accuracy",
    "objectives": "further objectives",
    "training": "what training took",
    "transfer": "transfer between levels",
    "levels": "levels",
}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    text: str
    key: Value | None = None  # None: the text
    words: bool = False  # prose: may wrap
    best: bool = False  # printed bold
    parts: Mapping[str, float] = field(default_factory=dict)  # further numbers in the text, for a CSV: low, high, ...


@dataclass(frozen=True)
class TableBlock:
    """A table of any kind. `runs`: the ids behind each row, where there are some."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    runs: Sequence[str] = ()
    note: str = ""
    filter: bool = False  # in HTML: rows can be searched
    fields: Sequence[str] = ()  # names of the columns that programs read, where they are others than these
    records: Sequence[Sequence[Value]] = ()  # of each row; nan: not known

    @property
    def texts(self) -> list[bool]:
        """Which columns hold words, not numbers: they begin at the left."""
        return [all(isinstance(row[j].key, str | None) for row in self.rows) for j in range(len(self.header))]


@dataclass(frozen=True)
class Remark:
    """A heading and its lines."""

    heading: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Document:
    """What every printer prints. Of columns that were picked by name it is one block, without title and remarks."""

    title: str
    lead: Sequence[str]  # lines under the title
    blocks: Sequence[TableBlock]
    remarks: Sequence[Remark]  # those with lines
    runs: Sequence[str]  # a line an arm: the ids of its runs
    fields: Sequence[str]  # names of the columns that programs read
    records: Sequence[Sequence[Value]]  # one an arm; nan: not known

    @property
    def bold_note(self) -> str:
        """What bold means, where something is bold."""
        return BOLD if any(cell.best for block in self.blocks for row in block.rows for cell in row) else ""


def document(table: Comparison, columns: Sequence[Column] | None = None) -> Document:
    """Of these columns, by default those that people read."""
    shown = chosen(table) if columns is None else columns
    is_whole = all(c.block != PICKED for c in shown)
    fields = expanded(table, shown)
    first = list(filter(None, [examination_note(table), looks_note(table)]))
    title, *lead = _title(table, first) if is_whole else ["", *first]
    return Document(
        title,
        lead,
        _blocks(table, shown) if is_whole else [_block(table, "", shown)],
        [r for r in _remarks(table) if r.lines] if is_whole else [],
        [f"{row.arm}: runs {table.run_ids(row) or 'none'}" for row in table.rows],
        [*(c.name for c in fields), "runs"],
        [[*(c.key(row) for c in fields), table.run_ids(row)] for row in table.rows],
    )


def _title(table: Comparison, first: Sequence[str]) -> list[str]:
    """The title, then what stands under it: `first`, the contrasts that answer the question, claim and baseline."""
    study = table.study
    d = table.study.description
    not_run = study.looks.not_run if study.looks is not None else ()
    shown = [seed for seed in d.seeds if seed not in not_run]
    seeds = ", ".join(map(str, shown or sorted({r.seed for r in study.runs})))
    built = built_task(study)
    return [
        f"{study.name}: {d.question}" if d.question else study.name,
        *first,
        *(f"Contrast {name}: {sentence}." for name, sentence in contrast_lines(table)),
        *([f"Claim: {d.claim}"] if d.claim else []),
        *([f"Task: {built}."] if built else []),
        f"Baseline {table.baseline}; seeds {seeds}; objective {study.objective}; start -> end.",
    ]


def _blocks(table: Comparison, columns: Sequence[Column]) -> list[TableBlock]:
    """The columns by their block; the arm heads each."""
    heads = [c for c in columns if c.block not in NOTES]
    of = {name: [c for c in columns if c.block == name] for name in NOTES}
    return [_block(table, name, [*heads, *members]) for name, members in of.items() if members]


def _block(table: Comparison, name: str, columns: Sequence[Column]) -> TableBlock:
    winners = [best(table, c) for c in columns]
    rows = [
        [Cell(c.text(row), c.key(row), best=winner == row.arm) for c, winner in zip(columns, winners, strict=True)]
        for row in table.rows
    ]
    runs = [table.run_ids(row) for row in table.rows]
    title = TITLES.get(name, "the arms")
    is_compared = any(c.name in COMPARED for c in columns)
    note = family_note(table) if is_compared else NOTES.get(name, "")
    fields = numbers_of(table, columns)
    return TableBlock(
        title, [c.title for c in columns], rows, runs, note, filter=len(rows) > 6,
        fields=[*(c.name for c in fields), "runs"],
        records=[[*(c.key(row) for c in fields), ids] for row, ids in zip(table.rows, runs, strict=True)],
    )  # fmt: skip


def _remarks(table: Comparison) -> list[Remark]:
    compared = [r for r in table.rows if r.difference is not None]
    has_own = table.has_other_baselines
    changes = [
        f"{r.arm}{f' (from {r.baseline})' if has_own else ''}: {', '.join(r.config_diff) or 'no config value'}"
        for r in compared
        if r.seeds
    ]
    unfinished = [
        f"{u.arm} seed {u.seed}: {u.status}{f' ({u.reason})' if u.reason else ''}" for u in table.study.unfinished
    ]
    control = check_control(table.study)
    checks = [f"{c.verdict}: {c.expected} (found: {c.found})" for c in control.checks] if control else []
    return [
        Remark(f"Control: {control.verdict}." if control else "", checks),
        Remark("How it reads:", [f"{r.arm}: {verdicts(table, r)}" for r in compared]),
        Remark(f"Differs from {'its baseline' if has_own else table.baseline} by:", changes),
        Remark("Runs that are not in the table:", unfinished),
        Remark("Notes:", table.study.notes),
    ]
