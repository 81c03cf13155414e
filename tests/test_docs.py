"""The pages that users have: their commands exist, their links resolve, the files that they name are there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from test_house import FLOORS

from eprli_lab import __version__

PAGES = [*(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(REPO.glob("docs/*.md"))]
EXTRAS_OF_A_GPU = {"openrlhf"}  # it pins its own
FOLDERS = "eprli_lab|hydra_plugins|analysis|benchmarks|tests|conf|sweeps|docs"
per_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))


def code(text: str) -> list[str]:
    """Lines of fenced blocks and inline code of a Markdown page, continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return lines + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]


def command_problems(line: str, commands: tuple[str, ...], own_sweeps: set[str] = frozenset()) -> list[str]:
    """What of a line's commands does not exist; `own_sweeps`: those that a page itself writes down."""
    out = [f"module {m}" for m in re.findall(r"python -m ((?:eprli_lab|analysis)[\w.]*)", line) if not runs(m)]
    out += [f"script {s}" for s in re.findall(r"python ([\w/]+\.py)", line) if not (REPO / s).is_file()]
    out += [f"command {c}" for c in re.findall(r"(?:^|[;&(] *)eprli-lab ([a-z]\w*)\b(?!=)", line) if c not in commands]
    sweeps = [s for s in re.findall(r"\bsweep=(\w+)", line) if s.islower()]
    return out + [f"sweep {s}" for s in sweeps if s not in own_sweeps and not (REPO / "sweeps" / f"{s}.yaml").is_file()]


def runs(module: str) -> bool:
    """Can `python -m module` be run in a checkout?"""
    path = REPO.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and mkdocs spell them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """Relative links and pictures of a page that lead nowhere."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    return broken


def absent_files(text: str) -> list[str]:
    """Paths of the repository (or of the package, without its name) that a text names and that are not there."""
    named = set(re.findall(rf"(?<![\w/.$])((?:{FOLDERS})/[\w./-]*\w)", text))
    named |= {c for c in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text) if re.search(r"/\w+\.(py|yaml|md)$", c)}
    named = {
        n for n in named if not re.search(r"\b[A-Z]+\.yaml$|/_\w+$", n)
    }  # NAME.yaml is anybody's; _conf the wheel's
    return sorted(n for n in named if not any((root / n).exists() for root in (REPO, REPO / "eprli_lab")))


@per_page
def test_commands_exist(page):
    commands = importlib.import_module("eprli_lab.cli.main").COMMANDS
    own = set(re.findall(r"^study:\n  name: (\w+)$", page.read_text(), flags=re.MULTILINE))
    text = page.read_text().replace("/path/to/clone/", "")
    written = {f"script {name}" for name in re.findall(r"^<!-- file: (\S+) -->$", text, flags=re.MULTILINE)}
    problems = {p for line in code(text) for p in command_problems(line, commands, own)}
    assert not problems - written


def test_a_command_that_does_not_exist_is_found():
    commands = ("report", "status")
    assert command_problems("eprli-lab report sweep=levels", commands) == []
    assert command_problems("eprli-lab reprot sweep=levels", commands) == ["command reprot"]
    assert command_problems("cd x && eprli-lab tabel", commands) == ["command tabel"]
    assert command_problems("eprli-lab -m sweep=levles", commands) == ["sweep levles"]
    assert command_problems("python -m eprli_lab.run && python -m eprli_lab.runn", commands) == [
        "module eprli_lab.runn"
    ]
    assert command_problems("python benchmarks/no.py", commands) == ["script benchmarks/no.py"]


@per_page
def test_links_resolve(page):
    assert not broken_links(page)


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title: one\n[a](page.md) [b](#a-title-one) [c](gone.md) [d](#gone) [e](https://x.org/gone)\n")
    assert broken_links(page) == ["gone.md", "#gone"]


@per_page
def test_files_that_are_named_exist(page):
    text = page.read_text()
    if page.name == "CHANGELOG.md":  # what stands there was true then
        text = text.partition("## 0.1.0")[0]
    written = set(re.findall(r"^<!-- file: (\S+) -->$", text, flags=re.MULTILINE))  # by the reader
    assert not set(absent_files(text)) - written


def test_a_file_that_is_not_there_is_found():
    assert absent_files("`eprli_lab/run.py`, docs/algorithm.md, `config/spec.py`, `sweeps/NAME.yaml`, out/x.py") == []
    assert absent_files("see eprli_lab/gone.py and `config/gone.py`") == ["config/gone.py", "eprli_lab/gone.py"]


def tracked(*folders: str) -> list[Path]:
    """Text files of a folder of the repository."""
    files = [f for folder in folders for f in (REPO / folder).rglob("*") if f.suffix in (".py", ".yaml", ".md")]
    return [f for f in files if "__pycache__" not in f.parts]


def test_code_and_configuration_cite_only_pages_that_users_have():
    for file in tracked("eprli_lab", "hydra_plugins", "conf", "sweeps", "benchmarks", "analysis", "tests"):
        text = file.read_text()
        cited = re.findall(r"docs/[\w/]+\.md", text)
        assert not [page for page in cited if not (REPO / page).is_file()], file
        if file != Path(__file__):
            assert not re.search(r"\bDESIGN\b|FIELD_NOTES|HOUSE\.md", text), file


def test_the_site_has_every_page():
    nav = re.findall(r"^ +- (?:Home: )?(\S+\.md)$", (REPO / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert len(nav) == len(set(nav))
    assert {p.name for p in REPO.glob("docs/*.md")} == {n for n in nav if "/" not in n}


def test_the_floors_of_the_page_are_those_that_are_held():
    text = (REPO / "docs" / "architecture.md").read_text()
    floors = text.partition("```text\n")[2].partition("```")[0]
    assert tuple(line.split()[0] for line in floors.splitlines()) == FLOORS


def test_the_makefile_has_what_is_called():
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE))
    called = re.findall(r"\bmake ([a-z]+)$", (REPO / ".ci" / "run").read_text(), flags=re.MULTILINE)
    named = [
        t for page in PAGES for line in code(page.read_text()) if line.startswith("make ") for t in line.split()[1:]
    ]
    assert {"lint", "types", "docs", "sweeps", "wheel"} <= set(called) <= targets
    assert set(named) <= targets


@pytest.mark.parametrize("name", ["main", "test", "rehearsal"])
def test_the_marked_commands_are_found_and_end_as_ci_takes_them_apart(name):
    done = subprocess.run([REPO / ".ci" / "readme", name], capture_output=True, text=True, check=True)
    install, _, run = done.stdout.strip().rpartition(" && ")
    assert "pip install" in install and "pip install" not in run
    assert run.startswith("python -m ")
    if name == "test":
        assert f"\t{run}\n" in (REPO / "Makefile").read_text()


def test_what_is_required_is_pinned():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = [r for k, v in project["optional-dependencies"].items() if k not in EXTRAS_OF_A_GPU for r in v]
    required = {re.split(r"[\[<>=!~; ]", r)[0].lower() for r in [*project["dependencies"], *extras]}
    lines = [p for n in ("constraints.txt", "constraints-openrlhf.txt") for p in (REPO / n).read_text().splitlines()]
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    own = {"eprli-lab", "setuptools", "wheel"}  # itself, and what builds the others
    assert {r.replace("_", "-") for r in required} - {p.replace("_", "-") for p in pinned} <= own


def test_the_package_asks_for_the_versions_of_the_constraints():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (REPO / "constraints.txt").read_text(), flags=re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    required = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    asked = dict(re.fullmatch(r"([\w.-]+)(?:\[.*\])?==(.+)", r).groups() for r in required if "==" in r)
    asked = {name.lower().replace("_", "-"): version for name, version in asked.items()}
    assert len(asked) > 40
    assert {n: v for n, v in asked.items() if pins.get(n, v) != v} == {}, "constraints.txt has another version"
    assert [r for r in project["dependencies"] if "==" not in r] == [], "pip install . must give what was tested"


def test_the_readme_is_one_screen():
    lines = (REPO / "README.md").read_text().splitlines()
    assert len(lines) <= 75
    marked = [lines[i + 2] for i, line in enumerate(lines) if line.endswith(" command -->")]
    assert len(marked) == 2 and all(len(command) <= 125 for command in marked)


def test_licence_citation_and_changelog_are_of_this_version():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["version"] == __version__
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2508.01604"
    assert "Apache License" in (REPO / "LICENSE").read_text() and citation["license"] == "Apache-2.0"
    assert f"({__version__.partition('.dev')[0]})" in (REPO / "CHANGELOG.md").read_text() or (
        f"## {__version__}" in (REPO / "CHANGELOG.md").read_text()
    )


def test_the_package_says_that_it_is_typed():
    package = importlib.util.find_spec("eprli_lab")
    assert package is not None and package.origin is not None
    assert (Path(package.origin).parent / "py.typed").is_file()
