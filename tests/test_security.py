"""What SECURITY.md promises of files: nothing that is read is run."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path

import pytest
from conftest import REPO
from test_house import MODULES

from eprli_lab.errors import UserError

RUN = re.compile(
    r"^\s*(?:import|from) (?:pickle|cloudpickle|dill|shelve|marshal|joblib)\b(?! import UnpicklingError)"
    r"|(?<![\w.])(?:eval|exec|compile)\(|\bos\.(?:system|popen)\(|\btorch\.(?:load|save)\(|\byaml\.(?:unsafe_)?load\("
    r"|\bsocketserver\b|\bhttp\.server\b|\.listen\(|\bread_pickle\(|shell\s*=\s*True|allow_pickle\s*=\s*True|weights_only\s*=\s*False",
    re.MULTILINE,
)


def test_no_module_reads_pickle_evaluates_text_or_starts_a_shell():
    found = {str(p.relative_to(REPO)): RUN.findall(p.read_text()) for p in MODULES}
    inside = found.pop("eprli_lab/grading/inside/program.py")  # in a locked process of the sandbox, and nowhere else
    assert inside == ["exec(", "compile("]
    assert not {path: words for path, words in found.items() if words}
    for planted in ("    import pickle", "x = eval(y)", "torch.load(p)", "run(c, shell=True)"):
        assert RUN.search(planted), planted


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_the_page_names_is_there(page):
    named = re.findall(r"`(?:(tests/[\w/]+\.py)(?:::)?)?(test_\w+)?`", (REPO / page).read_text())
    sources = "".join(p.read_text() for p in (REPO / "tests").rglob("test_*.py"))
    assert len([1 for file, function in named if file or function]) > 12
    for file, function in named:
        assert not file or (REPO / file).is_file(), file
        assert not function or f"def {function}(" in sources, function


class _Payload:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


@pytest.mark.slow
def test_a_model_that_brings_code_or_pickle_is_refused_and_nothing_runs(tmp_path: Path):
    from helpers import small_spec

    from eprli_lab.backends.local.policy import load_policy

    spec = small_spec()
    model, tokenizer = load_policy(spec.model, "mod10")
    where = tmp_path / "model"
    model.save_pretrained(where)
    tokenizer.save_pretrained(where)
    config = json.loads((where / "config.json").read_text())
    for kind in ("code", "pickle"):
        ran = tmp_path / f"ran-{kind}"
        if kind == "code":
            changed = config | {
                "model_type": "evil",
                "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},
            }
            (where / "evil.py").write_text(f"import os\nos.mkdir({str(ran)!r})\n")
            (where / "config.json").write_text(json.dumps(changed))
        else:
            (where / "config.json").write_text(json.dumps(config))
            (where / "model.safetensors").unlink()
            (where / "pytorch_model.bin").write_bytes(pickle.dumps(_Payload(ran)))
        with pytest.raises(UserError, match=r"model\.path: .* (cannot be loaded|is a pickle)"):
            load_policy(small_spec("model=path", f"model.path={where}").model, None)
        assert not ran.exists(), kind
