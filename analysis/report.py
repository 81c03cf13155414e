"""Table and figures of a study, again, from what was logged.

    python -m analysis.report sweep=levels [preset=smoke] [study=NAME] [baseline=ARM] [out=DIR] [tracking.uri=URI]

Reads the tracking store of the working directory unless told otherwise; writes to reports/<study>/ there.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.store import StudyData, load_study
from analysis.table import Table, ablation_table
from eprli_lab.errors import UserError, nearest
from eprli_lab.spec import TrackingSpec
from eprli_lab.tracking import parent_summary, view_link

KEYS = ("sweep", "preset", "study", "baseline", "out", "tracking.uri", "tracking.experiment")
NOTE_LENGTH = 5000  # characters; MLflow refuses descriptions above 8,000
USAGE = "usage: python -m analysis.report sweep=NAME [preset=NAME] (or study=NAME) [baseline=ARM] [out=DIR]"


def write_report(uri: str, experiment: str, study: str, out_dir: Path, baseline: str | None = None) -> str:
    """Write table.txt, .md, .csv, seeds.csv and two figures, attach them to the study's parent run; the text table.

    Raises UserError when the study does not exist or holds no run.
    """
    data = load_study(uri, experiment, study)
    table = ablation_table(data, baseline)
    text = table.text()
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        files = _write(table, text, out_dir)
    except OSError as error:
        raise UserError(f"out={out_dir} cannot be written ({error.strerror}): give another directory") from None
    if data.parent_run_id is not None:
        tracking = TrackingSpec(uri=uri, experiment=experiment)
        note = table.markdown()
        shown = note if len(note) < NOTE_LENGTH else None
        columns = [f"eval/{suite}/avg_at_k" for suite in data.suites]
        summary = summary_metrics(table)
        parent_summary(tracking, data.parent_run_id, summary, artifacts=files, note=shown, columns=columns)
    return text


def _write(table: Table, text: str, out_dir: Path) -> list[Path]:
    texts = {"table.txt": text + "\n", "table.md": table.markdown(), "table.csv": table.csv()}
    texts["seeds.csv"] = table.seeds_csv()
    files = []
    for name, content in texts.items():
        files.append(out_dir / name)
        files[-1].write_text(content)
    return files + _figures(table.study, out_dir)


def _figures(study: StudyData, out_dir: Path) -> list[Path]:
    """The figures for which something was logged."""
    from analysis.figures import buffer_figure, learning_curves

    files = [learning_curves(study, out_dir / "learning_curves.png")] if study.suites else []
    return files + ([buffer_figure(study, out_dir / "buffer.png")] if study.levels else [])


def summary_metrics(table: Table) -> dict[str, float]:
    """summary/{arm}/...: what the parent's row shows."""
    out = {}
    objective = table.study.objective
    for row in table.rows:
        out[f"summary/{row.arm}/{objective}"] = row.score
        out[f"summary/{row.arm}/updates"] = row.updates
        if row.difference is not None:
            out[f"summary/{row.arm}/difference"] = row.difference.mean
            out[f"summary/{row.arm}/difference_low"] = row.difference.low
            out[f"summary/{row.arm}/difference_high"] = row.difference.high
            out[f"summary/{row.arm}/p_holm"] = row.p_holm
    return {k: v for k, v in out.items() if not math.isnan(v)}


def study_name(options: dict[str, str]) -> str:
    """`study` if given, else the sweep's name, with the preset's unless that is the default one."""
    if "study" in options:
        return options["study"]
    if "sweep" not in options:
        raise UserError(f"which study? {USAGE}")
    preset = options.get("preset", "default")
    return options["sweep"] if preset == "default" else f"{options['sweep']}-{preset}"


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """`key=value` words. Raises UserError on anything else."""
    options = {}
    for word in arguments:
        key, sep, value = word.partition("=")
        if not sep or not value:
            raise UserError(f"'{word}' is not key=value; {USAGE}")
        if key not in KEYS:
            raise UserError(f"{key}: unknown key{nearest(key, KEYS)}")
        options[key] = value
    return options


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with one sentence."""
    if any(a in ("-h", "--help") for a in arguments):
        print(__doc__)
        return 0
    try:
        options = parse(arguments)
        name = study_name(options)
        default = TrackingSpec()
        try:
            experiment = options.get("tracking.experiment", default.experiment)
            tracking = TrackingSpec(uri=options.get("tracking.uri", default.uri), experiment=experiment)
        except ValueError as error:
            reason = str(error).splitlines()[2].strip().removeprefix("Value error, ").partition(" [type=")[0]
            raise UserError(f"tracking.uri: {reason}") from None
        out = Path(options.get("out", Path("reports") / name))
        print(write_report(tracking.uri, tracking.experiment, name, out, options.get("baseline")))
        print(f"\nreport: {out}/\nruns: mlflow ui, then {view_link(tracking, name)}")
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
