"""Doors for the user's functions: found, refused in a sentence, in the fingerprint, and checkpointed."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import group, small_spec

from eprli_lab.algorithm.admission import make_rule
from eprli_lab.algorithm.objective import token_losses
from eprli_lab.algorithm.schedule import make_schedule
from eprli_lab.backends.token_loss import context_for
from eprli_lab.config import extensions
from eprli_lab.config.extensions import KINDS, resolve, source_digests, source_files
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import load_training
from eprli_lab.data.strata import stratify
from eprli_lab.errors import UserError
from eprli_lab.records import CovarianceSettings
from eprli_lab.sweeping.fingerprints import data_digests
from eprli_lab.training.extensions import check_extensions
from eprli_lab.training.state import TrainState

pytestmark = pytest.mark.slow  # one of many

TERMS = "def quadratic(correct, tokens, level):\n    return [-((n / level.max_response_tokens) ** 2) for n in tokens]\n"
TERM = "curriculum.levels.l2.length_term"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; what is imported from it is forgotten at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(extensions, "_RESOLVED", {})
    monkeypatch.setattr(extensions, "_IMPORTED", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]
    importlib.invalidate_caches()


def spec_with(*overrides: str) -> RunSpec:
    return small_spec("curriculum=l2", *overrides)


def test_every_registered_name_is_found_and_used_by_the_config():
    for kind in KINDS:
        for name in KINDS[kind].registered:
            assert callable(resolve(kind, name)), (kind, name)
    used = {kind for kind, _ in spec_with().extensions().values()}
    assert used == set(KINDS) - {"verifier"}, "problems name theirs"


def test_what_is_not_named_changes_no_fingerprint():
    spec = spec_with()
    dumped = spec.model_dump(mode="json")
    assert "objective" not in dumped["algorithm"] and "grader" not in dumped["verify"]
    level = dumped["curriculum"]["levels"]["l1"]
    assert "reward" not in level and "rule" not in level["admission"]
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_source_is_in_the_fingerprint_with_what_it_imports(folder):
    (folder / "shapes.py").write_text("POWER = 2\n")
    (folder / "terms.py").write_text("import json\nimport numpy\nfrom shapes import POWER\n" + TERMS)
    spec = spec_with(f"{TERM}=terms:quadratic")
    assert list(source_files("terms:quadratic")) == ["terms", "shapes"]
    one = spec.fingerprint()
    assert one != spec_with().fingerprint() and one == spec.fingerprint()
    assert set(data_digests([spec])) == {"terms.py", "shapes.py"}
    (folder / "shapes.py").write_text("POWER = 3\n")  # one character
    assert spec.fingerprint() != one
    (folder / "shapes.py").write_text("POWER = 2\n")
    assert spec.fingerprint() == one


def test_a_package_of_the_users_counts_with_its_relative_imports(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text("")
    (folder / "mine" / "shapes.py").write_text("POWER = 2\n")
    (folder / "mine" / "terms.py").write_text("from .shapes import POWER\n" + TERMS)
    assert set(source_files("mine.terms:quadratic")) == {"mine.terms", "mine", "mine.shapes"}
    check_extensions(spec_with(f"{TERM}=mine.terms:quadratic"))


def test_a_source_that_changed_after_its_import_is_refused(folder):
    (folder / "late.py").write_text(TERMS)
    resolve("length_term", "late:quadratic")
    assert len(source_digests(["late:quadratic", "linear"])) == 1
    (folder / "late.py").write_text(TERMS + "\n")
    with pytest.raises(UserError, match="late:quadratic: its source changed after it was imported"):
        source_digests(["late:quadratic"])


def test_installed_modules_come_before_files_of_the_working_directory(folder):
    (folder / "numpy.py").write_text("raise RuntimeError('shadowed')\n")
    (folder / "mean.py").write_text(
        "import numpy\n\n\ndef mean(rewards):\n    return [float(numpy.mean(rewards))] * len(rewards)\n"
    )
    assert "numpy" not in source_files("mean:mean")
    check_extensions(spec_with("algorithm.advantage=mean:mean"))


BAD = [
    ("", "absent:f", "there is no module absent"),
    ("x = 1\n", "bad:f", "bad has no f"),
    ("def f(:\n", "bad:f", "bad cannot be imported (SyntaxError"),
    ("import nothing_of_the_kind\n", "bad:f", "bad cannot be imported (ModuleNotFoundError"),
    ("f = 3\n", "bad:f", "bad:f is no function"),
    ("def f(correct):\n    return correct\n", "bad:f", "does not take (correct, tokens, level)"),
    ("def f(correct, tokens, level):\n    return [0.0]\n", "bad:f", "one number a response is needed"),
    ("def f(correct, tokens, level):\n    return [float('nan')] * 4\n", "bad:f", "every number must be finite"),
    ("def f(correct, tokens, level):\n    return 1 / 0\n", "bad:f", "failed on a trial: ZeroDivisionError: division by zero (line 2)"),
    ("def f(correct, tokens, level):\n    tokens.sort(reverse=True)\n    return tokens\n", "bad:f", "changes what it is given"),
    ("N = [0]\ndef f(correct, tokens, level):\n    N[0] += 1\n    return N * 4\n", "bad:f", "to the same question"),
    ("import random\ndef f(correct, tokens, level):\n    random.random()\n    return [0.0] * 4\n", "bad:f", "the process's own random stream"),
    ("def g():\n    def f(a, b, c): return [0] * 4\n    return f\nf = g()\n", "bad:f", "made inside another function"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "name", "sentence"), BAD, ids=[b[2][:40] for b in BAD])
def test_a_broken_function_is_one_sentence(folder, source, name, sentence):
    (folder / "bad.py").write_text(source)
    with pytest.raises(UserError) as error:
        check_extensions(spec_with(f"{TERM}={name}"))
    assert str(error.value).startswith(f"{TERM}: ") and sentence in str(error.value)
    assert "\n" not in str(error.value)


BASES = {
    "admission": ("eprli_lab.algorithm.admission", "AdmissionRule"),
    "schedule": ("eprli_lab.algorithm.schedule", "Schedule"),
    "sampler": ("eprli_lab.data.samplers", "ProblemSampler"),
    "family": ("eprli_lab.data.tasks", "Family"),
}
KEYS = {
    "admission": "curriculum.levels.l2.admission.rule",
    "schedule": "curriculum.schedule",
    "sampler": "curriculum.selection",
    "family": "data.generated.family",
    "reward": "curriculum.levels.l2.reward",
    "advantage": "algorithm.advantage",
    "objective": "algorithm.objective",
    "grader": "verify.grader",
}
BAD_CLASSES = [
    ("admission", "def C(): ...\n", "is no class: derive one from eprli_lab.algorithm.admission.AdmissionRule"),
    ("admission", "class C: ...\n", "has no method verdict"),
    ("admission", "class C(Base):\n    def verdict(self, problem, correct, rewards):\n        return 'fine'\n", "gave the verdict 'fine'"),
    ("schedule", "class C(Base):\n    def choose(self, open_levels, progress, spent):\n        return 'l9'\n", "chose 'l9': one of l1, l2"),
    ("schedule", "class C(Base):\n    def choose(self, open_levels, progress, spent):\n        return None\n", "chose no level at the start"),
    ("schedule", "class C(Base):\n    def choose(self, o, p, s):\n        return o[0]\n    def pass_end(self, level):\n        return 1e12\n", "numbers up to"),
    ("sampler", "class C(Base):\n    def take(self, n, fraction=0.0):\n        return self.problems[:1]\n", "where 3 problems of the stratum were asked for"),
    ("sampler", "class C(Base):\n    def take(self, n, fraction=0.0):\n        return self.problems[:n]\n    def state(self):\n        return {'x': object()}\n", "that is no plain data"),
    ("sampler", "class C(Base):\n    n = 0\n    def take(self, n, fraction=0.0):\n        self.n += n\n        return self.problems[:n]\n    def state(self):\n        return {'n': self.n}\n", "take `state` back in the constructor"),
    ("sampler", "class C(Base):\n    def take(self, n, fraction=0.0):\n        return self.problems[:n]\n    def metrics(self):\n        return [1]\n", "name -> number is needed"),
    ("family", "class C(Base):\n    def draw(self, operations, rng):\n        return 'x'\n", "a Task (eprli_lab.data.tasks) is needed"),
    ("reward", "def C(problem, responses, correct, level):\n    return 'good'\n", "one number a response"),
    ("advantage", "def C(rewards):\n    return rewards[:1]\n", "one number a response"),
    ("objective", "def C(new, old, advantages, low, high):\n    return (new * advantages).sum()\n", "a tensor of one loss a token is needed"),
    ("objective", "def C(new, old, advantages, low, high):\n    return (new * advantages).detach()\n", "through which no gradient comes"),
    ("objective", "def C(new, old, advantages, low, high):\n    return new * 0\n", "a gradient that is zero everywhere"),
    ("objective", "def C(new, old, advantages, low, high, more):\n    return new * advantages\n", "does not take (logp_new, logp_old"),
    ("objective", "def C(new, old, advantages, low, context):\n    return new * advantages\n", "does not take (logp_new, logp_old"),
    ("objective", "def C(new, old, advantages, low, high, context):\n    return (new * context.sequence).detach()\n", "no gradient comes"),
    ("grader", "def C(response, answers):\n    return 1\n", "true, false or a Grade"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "source", "sentence"), BAD_CLASSES, ids=[f"{b[0]}-{b[2][:30]}" for b in BAD_CLASSES])
def test_every_kind_is_tried_before_anything_starts(folder, kind, source, sentence):
    head = "from {} import {} as Base\n\n\n".format(*BASES[kind]) if kind in BASES else ""
    (folder / "broken.py").write_text(head + source)
    with pytest.raises(UserError) as error:
        check_extensions(spec_with(f"{KEYS[kind]}=broken:C"))
    assert sentence in str(error.value) and "broken:C" in str(error.value)


SEQUENCES = """
import torch


def shuffled(new, old, advantages, low, high, *, context):
    count = int(context.sequence.max()) + 1
    sums = torch.zeros(count, dtype=new.dtype).index_add(0, context.sequence, (new - old).exp())
    noise = torch.rand(len(new), generator=context.generator)
    return -(sums[context.sequence] + noise) * advantages * context.covariance.kl_coef
"""


def test_an_objective_may_ask_for_its_sequences(folder):
    (folder / "asking.py").write_text(SEQUENCES)
    check_extensions(spec_with("algorithm.objective=asking:shuffled"))
    tokens = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0])
    found = [
        token_losses(
            "asking:shuffled", *tokens, 0.2, 0.2, context_for(torch.tensor([0, 0, 1]), s, CovarianceSettings())
        )
        for s in (1, 1, 2)
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


MEMORY = """
from eprli_lab.algorithm.admission import Band
from eprli_lab.algorithm.schedule import Schedule


class Counting(Band):
    def __init__(self, spec, state=None):
        super().__init__(spec)
        self.seen = (state or {"seen": 0})["seen"]

    def observe(self, groups):
        self.seen += len(groups)

    def state(self):
        return {"seen": self.seen}

    def metrics(self):
        return {"seen": self.seen}


class Turns(Schedule):
    def __init__(self, curriculum, amount, seed, state=None):
        super().__init__(curriculum, amount, seed)
        self.turns = (state or {"turns": 0})["turns"]

    def choose(self, open_levels, progress, spent):
        return open_levels[self.turns % len(open_levels)]

    def observe(self, groups):
        self.turns += 1

    def state(self):
        return {"turns": self.turns}
"""


def test_memories_are_in_the_checkpoint_and_only_where_there_are_any(folder):
    (folder / "memory.py").write_text(MEMORY)
    spec = spec_with("curriculum.schedule=memory:Turns", "curriculum.levels.l1.admission.rule=memory:Counting")
    check_extensions(spec)
    strata = stratify(load_training(spec.data), spec.curriculum)
    state = TrainState.fresh(spec, strata)
    state.schedule.observe([group([True, False])])
    state.rules["l1"].observe([group([True, False])] * 3)
    saved = json.loads(json.dumps(state.to_json()))
    assert saved["schedule"] == {"turns": 1} and saved["rules"] == {"l1": {"seen": 3}}
    back = TrainState.from_json(saved, spec, strata)
    assert back.schedule.state() == {"turns": 1} and back.rules["l1"].metrics() == {"seen": 3}
    assert back.schedule.choose(["l1", "l2"], back.progress, 0.0) == "l2"
    plain = spec_with()
    kept = TrainState.fresh(plain, stratify(load_training(plain.data), plain.curriculum)).to_json()
    assert not {"schedule", "rules"} & kept.keys(), "the layout of a checkpoint without them is what it was"


def test_a_schedule_that_names_a_level_which_has_ended_is_named(folder):
    from eprli_lab.algorithm.progress import LevelProgress, Progress
    from eprli_lab.algorithm.schedule import next_level

    source = "from eprli_lab.algorithm.schedule import Schedule\n\n\nclass First(Schedule):\n    def choose(self, o, p, s):\n        return 'l1'\n"
    (folder / "first.py").write_text(source)
    spec = spec_with("curriculum.schedule=first:First")
    schedule = make_schedule(spec.curriculum, 100.0, 0)
    progress = Progress(levels={"l1": LevelProgress(ended="starved"), "l2": LevelProgress()})
    with pytest.raises(UserError, match="curriculum.schedule: first:First chose 'l1', of l2"):
        next_level(schedule, progress, 0.0)


@pytest.mark.parametrize("weights", ["separate", "snapshot"])
def test_networks_of_the_levels_need_boundaries(folder, weights):
    (folder / "turns.py").write_text(MEMORY)
    spec = spec_with("curriculum.schedule=turns:Turns", f"curriculum.weights={weights}")
    with pytest.raises(UserError, match=f"has no boundaries between levels, which weights={weights} needs"):
        check_extensions(spec)


def test_a_rule_that_admits_everything_still_leaves_out_zero_variance(folder):
    from eprli_lab.algorithm.admission import admission_verdict
    from eprli_lab.records import Problem

    source = "from eprli_lab.algorithm.admission import AdmissionRule\n\n\nclass All(AdmissionRule):\n    def verdict(self, p, c, r):\n        return 'admitted'\n"
    (folder / "everything.py").write_text(source)
    spec = spec_with("curriculum.levels.l1.admission.rule=everything:All")
    rule, problem = make_rule(spec.curriculum.levels["l1"].admission), Problem("p", "q", ("1",))
    assert admission_verdict(rule, problem, [True, False], [1.0, 0.0]) == "admitted"
    assert admission_verdict(rule, problem, [True, True], [1.0, 1.0]) == "no_signal"
    assert admission_verdict(rule, problem, [True, False], [1.0, 0.0], errored=True) == "errored"


def test_steps_of_a_family_of_the_users_cannot_be_rewarded(folder):
    with pytest.raises(UserError, match="only the families int and mod10 have steps that can be checked"):
        spec_with("data.generated.family=sums:Sums", "algorithm.reward_density=dense")
