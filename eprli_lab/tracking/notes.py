"""What MLflow shows as descriptions: of a study's parent run, and of the experiment that studies share.

A description that a person wrote, or changed, is never replaced: ours remember their own digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from eprli_lab.escaping import code, markdown, markdown_paragraph
from eprli_lab.tracking.description import StudyDescription, last_opened
from eprli_lab.tracking.store import log, search_runs
from eprli_lab.tracking.views import run_address, view_address

NOTE = "mlflow.note.content"  # the tag that MLflow shows as the description of a run or an experiment
DIGEST = "eprli.note"  # of the note as we wrote it
ANSWER = "eprli.answer"  # of a parent run: what its table says, in a sentence or two
MOST_ARMS = 20  # in a parent's note
LONGEST = 4800  # characters of an experiment's note, however many studies it has
LONGEST_TEXT = 600  # characters of one question or answer in it
ENDING = "Made by EPRLI Lab, the study that was opened last first; text of your own here is never replaced."


def noted(note: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that replace the note where these tags are; none where a person has written or changed it."""
    known = tags.get(NOTE)
    if known and tags.get(DIGEST, _digest(known)) != _digest(known):
        return {}
    return {NOTE: note, DIGEST: _digest(note)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def study_note(study: str, description: StudyDescription) -> str:
    """Markdown beside a parent run whose table is not there yet."""
    lines = [f"## {markdown(study)}"]
    if description.question:
        lines.append(f"**Question.** {markdown(description.question)}")
    if description.claim:
        lines.append(f"**Claim.** {markdown(description.claim)}")
    more = len(description.arms) - MOST_ARMS
    arms = ", ".join(description.arms[:MOST_ARMS]) + (f" and {more} more" if more > 0 else "")
    lines.append(
        f"**Arms.** {markdown(arms)} (baseline: {markdown(str(description.baseline))}); "
        f"seeds {', '.join(map(str, description.seeds))}; objective {code(description.objective)}"
    )
    return "\n\n".join(lines)


def describe_experiment(client: Any, experiment: str) -> None:
    """The experiment's description anew: a short section a study, from what its parent runs say.

    Of studies beyond its length the oldest are counted only. A description of a person's own is left as it is. Nothing
    depends on it, so that a store that refuses it is left alone.
    """
    try:
        _describe(client, experiment)
    except Exception as error:
        log.debug("tracking: the experiment was not described: %s", error)


def _describe(client: Any, experiment: str) -> None:
    parents = search_runs(client, experiment, "tags.kind = 'study'")
    parents.sort(key=lambda run: last_opened(run.data.tags), reverse=True)
    known = dict(client.get_experiment(experiment).tags)
    for key, value in noted(experiment_note(experiment, parents), known).items():
        if known.get(key) != value:
            client.set_experiment_tag(experiment, key, value)


def experiment_note(experiment: str, parents: Sequence[Any]) -> str:
    """Of parent runs, the last opened first; of several plans of one name the last is taken."""
    latest: dict[str, Any] = {}
    for run in parents:
        latest.setdefault(run.data.tags.get("study", ""), run)
    latest.pop("", None)
    sections = [_section(experiment, study, run) for study, run in latest.items()]
    kept: list[str] = []
    for section in sections:
        if len(ENDING) + sum(map(len, kept)) + len(section) + 200 > LONGEST:
            break
        kept.append(section)
    left = len(sections) - len(kept)
    earlier = [f"... and {left} earlier: their parent runs say more (tag `kind = study`)."] if left else []
    return "\n\n".join([*kept, *earlier, f"*{ENDING}*"])


def _section(experiment: str, study: str, run: Any) -> str:
    tags = run.data.tags
    try:
        question = StudyDescription.from_tags(tags).question or ""
    except (ValueError, RecursionError):  # of another version, or damaged: the links still help
        question = ""
    # the first line is all that MLflow's page shows until it is unfolded, and as plain text in its list of experiments
    lines = [markdown_paragraph(f"{study}: {_short(question)}" if question else study)]
    lines.append(f"**Answer.** {markdown(_short(tags.get(ANSWER) or 'none yet: no table was made.'))}")
    links = (
        ("runs by arm", view_address(experiment, study)),
        ("charts", view_address(experiment, study, charts=True)),
        ("table and report", run_address(experiment, str(run.info.run_id))),
    )
    lines.append(" | ".join(f"[{title}]({address})" for title, address in links))
    return "\n\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3].rsplit(" ", 1)[0] + "..."
