"""Hydra entry point: config -> spec -> train -> score.

    python -m eprli_lab.run                          one run
    python -m eprli_lab.run -m sweep=levels          one ablation: arms x seeds, a table at the end

Only Hydra is imported at the top: `--help`, `--cfg job` and a refused config answer before torch could load.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eprli_lab.errors import Interrupted, NonFiniteError, UserError, nearest
from eprli_lab.paths import CONF_DIR

if TYPE_CHECKING:
    from eprli_lab.spec import RunSpec
    from eprli_lab.sweeping.plan import Plan

NOT_OF_THE_RUN = ("study", "sweep", "hydra", "preset")


def spec_tree(cfg: DictConfig) -> dict[str, Any]:
    """The composed config as plain data, without what belongs to Hydra or to a study."""
    try:
        tree = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        if "data.generated.family" in str(error):
            raise UserError(
                "evaluation: the held-out suites need generated data, and this data is a file: name suites of your "
                "own, for instance evaluation=benchmarks"
            ) from None
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}: give it a value") from None
    assert isinstance(tree, dict)
    return {str(k): v for k, v in tree.items() if k not in NOT_OF_THE_RUN}


def preflight(spec: RunSpec) -> None:
    """Everything a run reads, read before anything is started. Raises UserError."""
    from eprli_lab.backends.local.policy import check_source
    from eprli_lab.data import load_suite, load_training
    from eprli_lab.data.strata import stratify
    from eprli_lab.spec import OpenRLHFSpec

    check_logged("objective", spec.objective, spec)
    stratify(load_training(spec.data, spec.luck), spec.curriculum)
    for name, suite in spec.evaluation.suites.items():
        load_suite(name, suite)
    check_source(spec.model, spec.data.generated.family if spec.data.generated else None)
    if isinstance(spec.backend, OpenRLHFSpec):
        from eprli_lab.backends.openrlhf.dry_run import check_launch

        check_launch(spec)


def dry_run(specs: Sequence[RunSpec]) -> bool:
    """Print the launch of each OpenRLHF run whose backend.dry_run is on; were there any? Raises UserError."""
    from eprli_lab.spec import OpenRLHFSpec

    asked = [s for s in specs if isinstance(s.backend, OpenRLHFSpec) and s.backend.dry_run]
    for spec in asked:
        from eprli_lab.backends.openrlhf.dry_run import check_launch, describe_launch

        check_launch(spec)
        print((f"== {spec.arm}\n" if spec.arm else "") + describe_launch(spec))
    return bool(asked)


def check_logged(where: str, metric: str, spec: RunSpec) -> None:
    """Raises UserError for a metric that a run of this spec never logs: its levels, suites and reference are known."""
    from eprli_lab.metrics import CATALOGUE

    levels, suites = list(spec.curriculum.levels), list(spec.evaluation.suites)
    names = [m.name for m in CATALOGUE if spec.algorithm.kl_coef > 0 or not m.name.endswith("/kl_ref")]
    names = [n.replace("{l}", level) for n in names for level in (levels if "{l}" in n else [""])]
    names = [n.replace("{suite}", suite) for n in names for suite in (suites if "{suite}" in n else [""])]
    if metric not in names:
        raise UserError(f"{where}: no run logs '{metric}'{nearest(metric, names)}")


def check_writable(directory: Path) -> None:
    """Raises UserError unless files can be made here."""
    probe = directory / f".eprli-{uuid.uuid4().hex}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the working directory {directory} cannot be written to ({error.strerror}): change to a directory of yours"
        ) from None


def execute(
    spec_json: str,
    run_dir: str,
    parent_run_id: str | None,
    stop: Callable[[], bool | str] = lambda: False,
    on_progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> dict[str, Any]:
    """Train one run in this process, from its last checkpoint where `run_dir` holds one.

    `stop`: true, or why, when the run is to save and end. `on_progress` hears {"fraction", "accuracy"} after every
    step, and {"point", "value"} (the objective) at every evaluation after the start: point i of curve_points + 1.
    Returns {"objective", "metrics" (last values), "run_id", "starved"}. Raises UserError, NonFiniteError, Interrupted.
    """
    from eprli_lab.spec import parse_spec
    from eprli_lab.tracking import PRUNED, RunTracker

    spec = parse_spec(json.loads(spec_json))
    directory = Path(run_dir)
    trainer, closing = assemble(spec, directory, stop, on_progress)
    note = directory / "run.json"
    known = json.loads(note.read_text())["run_id"] if note.is_file() else None
    resumed = trainer.store.checkpoints()
    step = int(resumed[-1].name.split("-")[1]) if resumed else None
    tracker = RunTracker(spec, parent_run_id=parent_run_id, run_id=known, run_dir=directory, resume_step=step)
    note.write_text(json.dumps({"run_id": tracker.run_id}))
    (directory / "spec.json").write_text(spec.model_dump_json(indent=1))
    last: dict[str, float] = {}

    def log(values: dict[str, float], step: int) -> None:
        graded = {f"verify/{k}": float(trainer.grader.counters.get(k, 0)) for k in ("timeout", "error", "no_answer")}
        last.update(values | graded)
        tracker.log(values | graded, step)
        if spec.objective in values and step > 0:
            share = trainer.state.progress.spent(spec.budget.unit) / spec.budget.amount
            point = min(1.0, share) * (spec.evaluation.curve_points + 1)
            on_progress({"point": int(point + 1e-9), "value": values[spec.objective]})

    trainer.log = log
    try:
        trainer.run()
        if spec.objective not in last:
            raise UserError(f"objective: no run logs '{spec.objective}'{nearest(spec.objective, last)}")
        _artifacts(directory, tracker)
        tracker.finish("FINISHED", "; ".join(trainer.starved) or None)
    except Interrupted:
        tracker.finish("KILLED", PRUNED if stop() == PRUNED else "interrupted; state saved")
        raise
    except BaseException as error:
        tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        raise
    finally:
        for close in closing:
            close()
    return {"objective": last[spec.objective], "metrics": last, "run_id": tracker.run_id, "starved": trainer.starved}


def assemble(spec: RunSpec, directory: Path, stop: Any, on_progress: Any) -> tuple[Any, list[Callable[[], None]]]:
    """Data, grader, backend and trainer of one run, and what must be closed after it."""
    from eprli_lab.backends.build import build_backend
    from eprli_lab.checkpoint import RunStore
    from eprli_lab.data import load_suite, load_training
    from eprli_lab.data.strata import stratify
    from eprli_lab.train import Trainer
    from eprli_lab.verify import Grader

    strata = stratify(load_training(spec.data, spec.luck), spec.curriculum)
    suites = {name: load_suite(name, suite) for name, suite in spec.evaluation.suites.items()}
    backend = build_backend(spec, directory)
    grader = Grader(spec.verify)
    trainer = Trainer(
        spec=spec,
        backend=backend,
        grader=grader,
        strata=strata,
        suites=suites,
        store=RunStore(directory, spec.fingerprint()),
        log=lambda values, step: None,
        stop=stop,
        on_progress=on_progress,
    )
    return trainer, [grader.close, backend.close]


def _artifacts(directory: Path, tracker: Any) -> None:
    """Resolved spec, per-problem outcomes and the buffer's ledger (parquet) go to the run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eprli_lab.checkpoint import TABLES

    tracker.artifact(directory / "spec.json", "")
    for table in TABLES:
        rows = [json.loads(line) for line in (directory / f"{table}.jsonl").read_text().splitlines()]
        pq.write_table(pa.Table.from_pylist(rows), directory / f"{table}.parquet")
        tracker.artifact(directory / f"{table}.parquet", "")


def check_study(plan: Plan) -> None:
    """Every arm's data is read before anything is started. Raises UserError."""
    from eprli_lab.spec import parse_spec

    check_writable(Path.cwd())
    specs = [run.spec for run in plan.runs]
    specs += [parse_spec(tree) for tree in plan.search.bases.values()] if plan.search else []
    for spec in {s.fingerprint(): s for s in (s.model_copy(update={"seed": 0}) for s in specs)}.values():
        try:
            preflight(spec)
            for o in plan.objectives:
                check_logged("study.objectives", o.metric, spec)
        except UserError as error:
            raise UserError(f"{f'arm {spec.arm}' if spec.arm else 'study.search'}: {error}") from None


def start_study(plan: Plan, forced: list[str]) -> str:
    """Open the study's parent run, close what died; the parent's run id. `forced`: changes that were gone over."""
    from eprli_lab import tracking

    where = plan.sample.tracking
    tracking.prepare(where)
    tracking.close_dead_runs(where)
    return tracking.open_parent(where, plan.study, {**plan.description, "forced": forced})


def finish_search(plan: Plan, trials: list[Any], winners: list[tuple[str, Any]], parent: str) -> str:
    """What a person wants to know of a search; the same goes to its tracking parent."""
    from analysis.report import write_report
    from eprli_lab.sweeping.summary import summarise
    from eprli_lab.tracking import parent_summary

    text, values = summarise(plan, trials, winners)
    if parent:
        out = Path("reports") / plan.study
        where = plan.sample.tracking
        write_report(where.uri, where.experiment, plan.study, out)
        (out / "search.md").write_text(text + "\n")
        note = f"## {plan.study}\n\n```\n{text}\n```"
        parent_summary(where, parent, values, artifacts=[out / "search.md"], note=note, end=True)
    return text


def finish_study(plan: Plan) -> None:
    """Print the table, write the report, and say where to look."""
    from analysis.report import write_report
    from eprli_lab.tracking import view_link

    where = plan.runs[0].spec.tracking
    out = Path("reports") / plan.study
    link = view_link(where, plan.study)
    if not link:
        raise UserError(
            f"the runs are done, but the tracking server {where.uri} cannot be reached: upload them with python -m "
            f"eprli_lab.tracking upload outputs/{plan.study}/*/*, then python -m analysis.report study={plan.study}"
        )
    print(write_report(where.uri, where.experiment, plan.study, out, end=True))  # with the baselines of the plan
    print(f"\nreport: {out}/   again: python -m analysis.report study={plan.study}")
    print(f"runs: {link}" if where.uri.startswith("http") else f"runs: mlflow ui, then {link}")


def _single(cfg: DictConfig) -> int:
    """One run in this process, with progress lines; 0, or 130 when interrupted."""
    from eprli_lab.spec import parse_spec

    if cfg.get("study") and cfg.study.get("job"):
        from hydra.core.hydra_config import HydraConfig

        from eprli_lab.sweeping.launch import job

        hydra_node: Any = HydraConfig.get()
        node: Any = OmegaConf.to_container(cfg.study, resolve=True)
        return job(node, str(hydra_node.runtime.choices.get("preset")), list(hydra_node.overrides.task))
    if cfg.get("study") and cfg.study.get("arms"):
        raise UserError(f"sweep={cfg.study.name} is a sweep of several runs: add -m to the command line")
    spec = parse_spec(spec_tree(cfg))
    check_writable(Path.cwd())
    if dry_run([spec]):
        return 0
    preflight(spec)
    from eprli_lab import tracking

    tracking.prepare(spec.tracking)
    tracking.close_dead_runs(spec.tracking)
    directory = _run_directory(spec)
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: _ask_to_stop(asked, n))
    shown = [-1]

    def show(state: dict[str, float]) -> None:
        if "fraction" not in state:
            return
        tenth = int(state["fraction"] * 10)
        if tenth > shown[0]:
            shown[0] = tenth
            print(
                f"  {100 * state['fraction']:3.0f}% of the budget, training accuracy {state['accuracy']:.3f}",
                flush=True,
            )

    print(
        f"run {directory.name}: {spec.model.name}, levels {', '.join(spec.curriculum.levels)}, seed {spec.seed}",
        flush=True,
    )
    try:
        result = execute(spec.model_dump_json(), str(directory), None, lambda: bool(asked), show)
    except Interrupted as error:
        print(f"{error} in {directory}; the same command resumes", file=sys.stderr)
        return 130
    print(_summary(directory, result))
    return 0


def _run_directory(spec: RunSpec) -> Path:
    """outputs/run-<fingerprint>: an unfinished one is resumed; beside a finished one, a new number is taken."""
    base = Path("outputs") / f"run-{spec.fingerprint()}"
    candidate, number = base, 1
    while (candidate / "finished").exists():
        number += 1
        candidate = base.with_name(f"{base.name}-{number}")
    if list(candidate.glob("checkpoint-*")):
        print(f"resuming {candidate} (remove it to start over)", flush=True)
    candidate.mkdir(parents=True, exist_ok=True)
    return candidate


def _ask_to_stop(asked: list[int], number: int) -> None:
    if asked:  # a second one does not wait for a safe point
        os._exit(128 + number)
    asked.append(number)
    print("stopping at the next safe point ...", file=sys.stderr, flush=True)


def _summary(directory: Path, result: dict[str, Any]) -> str:
    """What a person wants to see after one run: each suite before and after, and where the rest is."""
    from eprli_lab.checkpoint import RunStore

    (directory / "finished").touch()
    rows = RunStore(directory, "").rows("outcomes")
    lines = [f"{'suite':<18}{'start':>8}{'final':>8}"]
    for suite in dict.fromkeys(r["suite"] for r in rows):
        values = []
        for stage in ("start", "final"):
            chosen = [r["correct"] / r["samples"] for r in rows if r["suite"] == suite and r["stage"] == stage]
            values.append(sum(chosen) / len(chosen))
        lines.append(f"{suite:<18}{values[0]:>8.3f}{values[1]:>8.3f}")
    m = result["metrics"]
    lines.append(
        f"score {m['score']:.3f} after {m['progress/tokens']:.0f} tokens, {m['progress/updates']:.0f} updates, "
        f"{m['time/total']:.1f} s"
    )
    lines += [f"warning: {sentence}" for sentence in result["starved"]]
    lines.append(f"checkpoint: {RunStore(directory, '').checkpoints()[-1] / 'policy'}   runs: mlflow ui")
    return "\n".join(lines)


def explain(error: Exception) -> str:
    """One sentence for Hydra's and OmegaConf's own errors, with the nearest name."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name}: there is no such {group}{nearest(name, error.options or [])}"
    text = " ".join(str(error).split())
    found = re.match(r"Could not override '([^']+)'", text)
    if found:
        return f"{found[1]}: unknown key{_nearest_key(found[1])}"
    cause = (
        f" ({' '.join(str(error.__cause__).split())})" if error.__cause__ and str(error.__cause__) not in text else ""
    )
    return text + cause


def _nearest_key(path: str) -> str:
    """The nearest sibling of the first part of `path` that the composed default config does not know."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    groups = r"(curriculum|model|data|evaluation|backend|tracking|preset|sweep)="
    chosen = [a for a in sys.argv[1:] if re.match(groups, a)]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        try:
            node: Any = compose("config", overrides=chosen)
        except HydraException:
            node = compose("config")
    for part in path.split("."):
        if not isinstance(node, DictConfig):
            return ""
        if part not in node:
            return nearest(part, [str(k) for k in node])
        node = node._get_node(part)
    return ""


SHORT = {"force": "study.force", "confirm": "study.search.confirm", "trials": "study.trials"}


def lengthen(arguments: list[str]) -> list[str]:
    """`force=true`, `confirm=3` and `trials=40` of a sweep by their full names."""
    if not {"-m", "--multirun"} & set(arguments):
        return arguments
    return [f"{SHORT[key]}{a[len(key) :]}" if (key := a.partition("=")[0]) in SHORT else a for a in arguments]


def pin_levels(arguments: list[str]) -> list[str]:
    """A sweep's arms have different levels: overrides of single levels are handed to the plan, arm by arm.

    Hydra composes the command line once more before any arm, with the default curriculum, and would refuse them there.
    """
    level = re.compile(r"\+*curriculum\.levels\.")
    if not any(a.startswith("sweep=") for a in arguments) or not {"-m", "--multirun"} & set(arguments):
        return arguments
    pinned = [a for a in arguments if level.match(a)]
    if not pinned:
        return arguments
    quoted = ",".join("'" + a.replace("\\", "\\\\").replace("'", "\\'") + "'" for a in pinned)
    return [a for a in arguments if a not in pinned] + [f"study.pinned=[{quoted}]"]


_exit_code = 0
_errors: list[Exception] = []  # of jobs; raised in Hydra's job they would be printed by Hydra as well


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    global _exit_code
    try:
        _exit_code = max(_exit_code, _single(cfg))
    except (UserError, NonFiniteError, OSError) as error:
        if cfg.study.job:  # in another process: the launcher carries it home
            raise
        _errors.append(error)


def main() -> None:
    """Console entry: exit code 0, 1 (a run failed), 2 (the user's mistake, one sentence), 130 (interrupted)."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed by Hydra
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.argv[1:] = pin_levels(lengthen(sys.argv[1:]))
    try:
        _hydra_main()
        for error in _errors:
            raise error
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sentence = str(error) if isinstance(error, UserError) else explain(error)
        print(f"eprli_lab: {sentence}", file=sys.stderr)
        sys.exit(2)
    except NonFiniteError as error:
        print(f"eprli_lab: the run failed: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # before a run or a study took over the signal: nothing was started
        print("eprli_lab: interrupted before anything was started", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS):
            raise
        print(f"eprli_lab: {error.filename or Path.cwd()} cannot be written ({error.strerror})", file=sys.stderr)
        sys.exit(2)
    sys.exit(_exit_code)


if __name__ == "__main__":
    main()
