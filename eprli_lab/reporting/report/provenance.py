"""What made a report: command, commit, versions, hardware."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from eprli_lab.masking import masked
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.parts import Item, Section


def _made_by(tags: Mapping[str, str]) -> dict[str, Any]:
    """What a run says made it; {} where it does not, or what it says cannot be read."""
    try:
        record = json.loads(tags.get("eprli.provenance", "{}"))
    except ValueError:
        return {}
    return masked(record) if isinstance(record, dict) else {}


def provenance_section(study: StudyData, again: Sequence[str]) -> Section:
    made = [m for m in [_made_by(study.tags)] if m]
    items: list[Item] = []
    for m in made:
        items += [
            (f"{key}:", _flat(m[key])) for key in ("command", "commit", "python", "packages", "hardware") if m.get(key)
        ]
    of_runs = [m for run in study.runs if (m := _made_by(run.tags))]
    machines = {_flat({k: m.get(k, "") for k in ("commit", "packages", "hardware")}) for m in of_runs}
    if machines - {_flat({k: m.get(k, "") for k in ("commit", "packages", "hardware")}) for m in made}:
        items += [("runs were made with:", m) for m in sorted(machines)]
    backends = sorted({r.params["backend.kind"] for r in study.runs if "backend.kind" in r.params})
    items += [("backend:", ", ".join(backends))] if backends else []
    engines = sorted({_flat(m["engine"]) for m in of_runs if m.get("engine")})
    items += [("engine:", "; ".join(engines))] if engines else []
    prints = sorted({r.tags["fingerprint"] for r in study.runs if "fingerprint" in r.tags})
    items += [("config fingerprints:", ", ".join(prints))] if prints else []
    items += [("parent run:", study.parent_run_id)] if study.parent_run_id else []
    items.append(("this report again:", shlex.join(["eprli-lab", "report", f"study={study.name}", *again])))
    return Section("provenance", "Provenance", items=items)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items() if v)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
