"""Measured difficulty: exact pass rates, and work that goes on after an interruption."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.weights import BLOCK, BLOCKS, weights_digest
from eprli_lab.cli.difficulty import _arguments
from eprli_lab.cli.difficulty import run as difficulty_run
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import DataSpec, ModelSpec, SourceSpec
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.load import load_training
from eprli_lab.errors import UserError
from eprli_lab.grading.grader import Grader
from eprli_lab.records import Problem, Response, Sampling
from eprli_lab.training.difficulty import CHUNK, measure, measured_otherwise, provenance, resume

pytestmark = pytest.mark.slow  # one of many


class Counted:
    """An engine whose responses to problem i are right exactly `right[i]` times of n; it remembers how it was asked."""

    def __init__(self, right: dict[str, int]) -> None:
        self.right, self.calls = right, []

    def sample(self, problems, sampling, *, seed):
        n = sampling.n
        self.calls.append(([p.id for p in problems], n, sampling.max_tokens, sampling.temperature, seed))
        return [
            tuple(
                Response(f"\\boxed{{{p.answers[0] if j < self.right[p.id] else 'no'}}}", (1,), (2,), (-0.1,), False)
                for j in range(n)
            )
            for p in problems
        ]


def scripted(count: int, k: int):
    problems = [Problem(f"q{i}", "?", (str(i),)) for i in range(count)]
    return problems, Counted({p.id: i % (k + 1) for i, p in enumerate(problems)})


def measured(problems, backend, k=4, seed=0):
    rows, chunks = [], []

    def on_chunk(new):
        rows.extend(new)
        chunks.append(len(new))

    with Grader(VerifySpec(symbolic=False)) as grader:
        measure(problems, backend, grader, sampling=Sampling(k, 9, 0.7), seed=seed, on_chunk=on_chunk)
    return rows, chunks


def test_pass_rates_are_exact():
    problems, backend = scripted(150, k=4)
    rows, chunks = measured(problems, backend)
    assert [r["id"] for r in rows] == [p.id for p in problems]
    assert [r["correct"] for r in rows] == [i % 5 for i in range(150)]
    assert [r["pass_rate"] for r in rows] == [(i % 5) / 4 for i in range(150)]
    assert {r["k"] for r in rows} == {4}
    assert chunks == [64, 64, 22] and CHUNK == 64
    assert [(len(c[0]), *c[1:4]) for c in backend.calls] == [(64, 4, 9, 0.7), (64, 4, 9, 0.7), (22, 4, 9, 0.7)]


def test_a_chunk_has_a_seed_of_its_own():
    problems, backend = scripted(150, k=4)
    measured(problems, backend)
    seeds = [c[4] for c in backend.calls]
    assert len(set(seeds)) == 3
    _, again = scripted(150, k=4)
    measured(problems[64:], again)
    assert [c[4] for c in again.calls] == seeds[1:], "the same whatever was measured before"
    _, other = scripted(150, k=4)
    measured(problems, other, seed=1)
    assert not {c[4] for c in other.calls} & set(seeds)


def test_arguments():
    assert _arguments(["seed=1"]) == (8, None, None, ["seed=1"])
    k, out, limit, rest = _arguments(["k=2", "out=a/b.jsonl", "data=int", "limit=5", "seed=1"])
    assert (k, str(out), limit, rest) == (2, "a/b.jsonl", 5, ["data=int", "seed=1"])
    for bad in ("k=0", "k=x", "k=", "k", "limit=-1", "limit=1.5", "limit=\u00b2"):
        with pytest.raises(UserError, match=r"a whole number of at least 1 is needed"):
            _arguments([bad])
    with pytest.raises(UserError, match="name the file to write"):
        _arguments(["out="])


# --- resuming, without a model

META = {"k": 2, "seed": 0}


def lines(count, start=0):
    return [json.dumps({"id": f"q{i}", "pass_rate": 0.5, "correct": 1, "k": 2}) + "\n" for i in range(start, count)]


def resumed(tmp_path, text, count):
    out = tmp_path / "r.jsonl"
    out.write_text(text)
    (tmp_path / "r.meta.json").write_text(json.dumps(META))
    done = resume(out, META, [f"q{i}" for i in range(count)])
    return done, out.read_text()


def test_only_whole_chunks_of_interrupted_work_are_kept(tmp_path):
    whole = "".join(lines(64))
    for text in (whole, whole + '{"id": "q64", "pa', whole + "".join(lines(70, 64)), whole + '{"id": "q6}'):
        done, left = resumed(tmp_path, text, 96)
        assert left == whole
        assert done == {f"q{i}" for i in range(64)}
    assert resumed(tmp_path, "".join(lines(40)), 96) == (set(), "")
    assert resumed(tmp_path, "", 96) == (set(), "")


def test_finished_work_is_kept_whole(tmp_path):
    text = "".join(lines(96))
    assert resumed(tmp_path, text, 96) == ({f"q{i}" for i in range(96)}, text)
    assert resumed(tmp_path, text, 50)[1] == text, "a smaller limit throws nothing away"
    assert resumed(tmp_path, text, 200)[1] == "".join(lines(64)), "a larger one goes on at the chunk"


def test_a_damaged_line_is_measured_again_with_what_follows(tmp_path):
    text = "".join(lines(70)) + "garbage\n" + "".join(lines(192, 71))
    assert resumed(tmp_path, text, 192)[1] == "".join(lines(64))
    text = "".join(lines(10)) + '{"pass_rate": 1}\n' + "".join(lines(64, 11))
    assert resumed(tmp_path, text, 64)[1] == ""


def test_other_settings_and_other_files_are_not_written_over(tmp_path):
    out = tmp_path / "r.jsonl"
    assert resume(out, META, ["q0"]) == set()
    out.write_text("".join(lines(1)))
    with pytest.raises(UserError, match=r"r\.jsonl was measured with another seed: give out=FILE or remove it"):
        resume(out, {**META, "seed": 1}, ["q0"])
    (tmp_path / "r.meta.json").write_text("{half")
    with pytest.raises(UserError, match="was measured with another k"):
        resume(out, META, ["q0"])
    (tmp_path / "r.meta.json").unlink()
    with pytest.raises(UserError, match=r"r\.jsonl exists and was not written by this command"):
        resume(out, META, ["q0"])
    assert out.read_text() == "".join(lines(1)), "a data file named by mistake is left alone"
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\): give out=FILE"):
        resume(tmp_path / "no" / "r.jsonl", META, ["q0"])


# --- what was measured


def test_rates_are_bound_to_weights_prompts_and_grader(tmp_path):
    measured_of = lambda *overrides: provenance(compose_spec(list(overrides)), 8, 76)
    base = measured_of()
    assert base["weights"].startswith("recipe:") and "prompts" not in base
    changes = {
        "weights": ["model.warmstart.steps=801"],
        "prompts": ["prompts.suffix=x"],
        "verify": ["verify.format=hash"],
        "seed": ["seed=1"],
        "temperature": ["algorithm.temperature=0.9"],
    }
    for key, overrides in changes.items():
        assert measured_of(*overrides).get(key) != base.get(key), key
        assert not key == "verify" or measured_of("verify.processes=2", "verify.timeout_seconds=9") == base
    out = tmp_path / "r.jsonl"
    resume(out, measured_of("prompts.suffix=x"), ["q0"])
    out.write_text("".join(lines(1)))
    with pytest.raises(UserError, match="was measured with other prompts"):
        resume(out, base, ["q0"])  # the suffix is gone: that is another prompt too
    side = tmp_path / "r.meta.json"
    side.write_text(json.dumps({k: v for k, v in base.items() if k not in ("weights", "verify")}))
    with pytest.raises(
        UserError, match=r"r\.jsonl does not say of which weights it was measured, as an earlier version"
    ):
        resume(out, base, ["q0"])


def test_a_run_says_when_its_labels_are_another_policys(tmp_path):
    out = tmp_path / "r.jsonl"
    resume(out, provenance(compose_spec([]), 8, 76), ["q0"])
    said = lambda *overrides: measured_otherwise(compose_spec([f"data.difficulty_file={out}", *overrides]))
    assert said() == () and said("seed=1", "curriculum=l3", "verify.processes=2") == ()
    assert measured_otherwise(compose_spec([])) == (), "no file"
    (sentence,) = said("prompts.suffix=x", "verify.symbolic=false")
    assert "r.jsonl was measured with other prompts and another grader or answer format than this run has" in sentence
    (sentence,) = said("model=mod10_xs")
    assert "with other weights than" in sentence
    (tmp_path / "r.meta.json").unlink()
    assert said("model=mod10_xs") == (), "nothing is known"
    packaged = "data.difficulty_file=package:mod10_xs_k8.jsonl"
    assert measured_otherwise(compose_spec([packaged, "model=mod10_xs"])) == ()
    (sentence,) = measured_otherwise(compose_spec([packaged]))
    assert "package:mod10_xs_k8.jsonl was measured with another model than this run has" in sentence


def test_the_digest_of_weights_sees_a_byte(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    model = ModelSpec(name="m", path=str(tmp_path))
    shard = tmp_path / "model-00001-of-00002.safetensors"
    shard.write_bytes(bytes(3 * BLOCK + 5))
    seen = {weights_digest(model, None)}
    for at in (0, BLOCK, 2 * BLOCK + 7, 3 * BLOCK + 4):
        content = bytearray(3 * BLOCK + 5)
        content[at] = 1
        shard.write_bytes(content)
        seen.add(weights_digest(model, None))
    shard.rename(tmp_path / "model.safetensors")
    seen.add(weights_digest(model, None))
    with open(tmp_path / "model.safetensors", "wb") as f:  # 64 MiB, sparse: its ends are among the blocks that are read
        f.truncate(4 * BLOCKS * BLOCK)
    seen.add(weights_digest(model, None))
    with open(tmp_path / "model.safetensors", "r+b") as f:
        f.seek(-1, 2)
        f.write(b"x")
    seen.add(weights_digest(model, None))
    assert len(seen) == 8 and all(s.startswith("files:") for s in seen)


# --- the command, with the real tiny model


def test_the_command_resumes_to_the_same_file_and_training_uses_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = ["k=2", "limit=96", "verify.symbolic=false", "evaluation.samples=1"]
    whole = difficulty_run([*settings, "out=whole.jsonl"])
    rows = [json.loads(line) for line in whole.read_text().splitlines()]
    assert len(rows) == len({r["id"] for r in rows}) == 96
    assert all(r["pass_rate"] == r["correct"] / 2 and r["k"] == 2 for r in rows)
    assert len({r["pass_rate"] for r in rows}) == 3, "a policy that is sometimes right"
    said = capsys.readouterr().out
    assert "whole.jsonl: 0 of 96 problems measured, k=2" in said
    mean = sum(r["pass_rate"] for r in rows) / 96
    assert f"mean pass rate {mean:.3f} over 96 problems; use data.difficulty_file=whole.jsonl" in said

    text = whole.read_text()
    half = tmp_path / "half.jsonl"
    for kept in (text[:-7], "".join(text.splitlines(keepends=True)[:70]) + '{"id": "mo', ""):
        half.write_text(kept)
        (tmp_path / "half.meta.json").write_text((tmp_path / "whole.meta.json").read_text())
        difficulty_run([*settings, "out=half.jsonl"])
        assert half.read_text() == text
    capsys.readouterr()
    difficulty_run([*settings, "out=half.jsonl"])
    assert "96 of 96 problems measured" in capsys.readouterr().out
    assert half.read_text() == text
    with pytest.raises(UserError, match="half.jsonl was measured with another k"):
        difficulty_run([*settings[1:], "k=4", "out=half.jsonl"])
    assert difficulty_run(["k=2", "limit=1", *settings[2:]]).name == "mod10.difficulty.jsonl"

    # the default family's first 96 problems with their measured difficulty
    from eprli_lab.config.compose import compose_spec
    from eprli_lab.data.load import read_training, with_measured

    spec = compose_spec(["data.difficulty_file=whole.jsonl"])
    problems = with_measured(read_training(spec.data)[:96], whole)
    rates = {r["id"]: r["pass_rate"] for r in rows}
    assert [p.difficulty for p in problems] == [1 - rates[p.id] for p in problems]
    with pytest.raises(UserError, match=r"whole\.jsonl: 4000 of 4096 problems have no pass rate"):
        load_training(spec.data)


def test_a_file_of_problems_gets_its_rates_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"t{i}", "problem": f"{i % 10}a+{(i * 7 + i // 10) % 10}?", "answer": (i % 10 + i * 7 + i // 10) % 10}
        for i in range(30)
    ]
    data = tmp_path / "sub" / "toy.jsonl"
    data.parent.mkdir()
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    shipped = compose_spec([])
    engine = LocalBackend(shipped.model, shipped.optim, shipped.backend, family="mod10", kl_reference=False, seed=0)
    engine.save(tmp_path)
    overrides = ["data=jsonl", f"data.source.path={data}", "model=path", f"model.path={tmp_path / 'policy'}"]
    with pytest.raises(UserError, match="do not fit the model's context of 256 tokens with a response of 2048"):
        difficulty_run(["k=2", *overrides])
    overrides = ["curriculum=l2", *overrides]  # the limits of this small policy
    out = difficulty_run(["k=2", *overrides])
    assert sum(json.loads(line)["correct"] for line in out.read_text().splitlines()) > 10
    assert out == data.with_suffix(".difficulty.jsonl")
    rates = {json.loads(line)["id"]: json.loads(line)["pass_rate"] for line in out.read_text().splitlines()}
    assert set(rates) == {f"t{i}" for i in range(30)}
    spec = DataSpec(name="toy", source=SourceSpec(path=str(data)), difficulty_file=str(out))
    assert [p.difficulty for p in load_training(spec)] == [1 - rates[f"t{i}"] for i in range(30)]
    assert data.read_text().count("\n") == 30
    run = compose_spec([*overrides, f"data.difficulty_file={out}", "evaluation=math500"])
    assert measured_otherwise(run) == ()
    weights = tmp_path / "policy" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="was measured with other weights: give out=FILE"):
        difficulty_run(["k=2", *overrides])
    (said,) = measured_otherwise(run)
    assert "was measured with other weights than this run has" in said
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"toy\.jsonl exists and was not written by this command"):
        difficulty_run(["k=2", f"out={data}", *overrides])
    assert data.read_text().count("\n") == 30, "the problems are still there"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["k=0"], "eprli_lab: k=0: a whole number of at least 1 is needed"),
        (["data=jsonl", "data.source.path=none.jsonl", "evaluation=benchmarks"], "there is no file none.jsonl"),
        (["data.generated.problms=3"], "problms"),
    ],
)
def test_mistakes_end_the_command_with_one_sentence(tmp_path, arguments, said):
    done = subprocess.run(
        [sys.executable, "-m", "eprli_lab.difficulty", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.startswith("eprli_lab: ")
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
