"""What MLflow is told of a run's data: the same digest says the same problems."""

from __future__ import annotations

from pathlib import Path

from helpers import small_spec

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.data.strata import Strata
from eprli_lab.records import Problem
from eprli_lab.training.inputs import data_inputs


def problems(first: int, count: int = 4) -> list[Problem]:
    return [Problem(f"p{i}", f"{i}+1?", (str(i + 1),), i / 10) for i in range(first, first + count)]


def test_counts_and_digests() -> None:
    spec = small_spec()
    suites = {name: problems(10) for name in spec.evaluation.suites}
    strata = Strata({"l1": problems(0), "l2": problems(4)}, left_out=3)
    training, *examined = data_inputs(spec, strata, suites)
    assert (training.name, training.context, training.source_type) == (spec.data.name, "train", "code")
    assert training.profile["num_rows"] == 8 and training.profile["left out"] == 3
    assert training.profile["level l1"] == training.profile["level l2"] == 4
    assert (training.profile["least difficulty"], training.profile["greatest difficulty"]) == (0.0, 0.7)
    assert [(e.name, e.context, e.profile["num_rows"]) for e in examined] == [(n, "eval", 4) for n in suites]
    assert len(training.digest) <= 36
    again = data_inputs(spec.model_copy(update={"seed": 5}), strata, suites)
    assert again == [training, *examined], "of the data alone"
    moved = data_inputs(spec, Strata({"l1": problems(0, 5), "l2": problems(5, 3)}, left_out=3), suites)
    assert moved[0].digest != training.digest and moved[1:] == examined


def test_a_file_is_named_by_its_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.jsonl").write_text('{"problem": "1+1?", "answer": "2", "d": 0.1}\n')
    spec = small_spec()
    source = SourceSpec(path="own.jsonl", columns=ColumnsSpec(difficulty="d"))
    data = spec.data.model_copy(update={"generated": None, "source": source})
    (training, *_) = data_inputs(spec.model_copy(update={"data": data}), Strata({"l1": problems(0)}, 0), {})
    assert (training.source_type, training.source) == ("local", {"uri": "own.jsonl", "split": "train"})
