"""The composed config without running a Hydra application: for the smaller commands and for tests."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eprli_lab.config.own import file_of, relative
from eprli_lab.config.parse import parse_spec
from eprli_lab.config.paths import CONF_DIR
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import NOT_WRITABLE, UserError, nearest, shortened


@contextmanager
def hydra_session() -> Iterator[None]:
    """Hydra on this package's configuration; afterwards its global state is what it was, also of another application.

    Hydra's own context manager puts back a copy, and neither the job's name nor the version that it is to behave like.
    """
    instance, version, runtime = GlobalHydra.instance(), VersionBase.instance(), JobRuntime.instance()
    hydra, base, name = instance.hydra, version.version_base, runtime.get("name")
    instance.clear()
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            yield
    finally:
        GlobalHydra.set_instance(instance)
        instance.hydra, version.version_base = hydra, base
        runtime.set("name", name)


def compose_tree(overrides: list[str], leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Plain tree of the composed config, without what belongs to Hydra or a study. Raises UserError.

    `leave_out`: top-level keys that the caller has no use for; what is missing in them is not asked for.
    """
    with hydra_session(), composing(overrides):
        config = compose("config", overrides=overrides)
    for key in leave_out:
        config[key] = None
    return {k: v for k, v in spec_tree(config).items() if k not in leave_out}


class composing:
    """What Hydra and OmegaConf raise within becomes a UserError: their own errors, and whatever else breaks in them.

    Text that they do not expect (`data=[1,2]`, 5,000 digits, brackets nested 400 deep) leaves them as AssertionError,
    ValueError, RecursionError. An error that passed through this package on its way is the program's, and stays.
    `overrides`: what is composed; None: the command line.
    """

    def __init__(self, overrides: Sequence[str] | None = None) -> None:
        self.overrides = overrides

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, Exception) or isinstance(error, UserError):
            return
        if not isinstance(error, (HydraException, OmegaConfBaseException)):
            if _passed_through_us(trace) or (isinstance(error, OSError) and error.errno in NOT_WRITABLE):
                return
        raise UserError(hydra_error_sentence(error, self.overrides)) from None


def _passed_through_us(trace: TracebackType | None) -> bool:
    """Whether an error, seen from a `with composing()`, was raised by code of this package that Hydra had called."""
    within = trace.tb_next if trace is not None else None
    while within is not None:
        if within.tb_frame.f_globals.get("__name__", "").startswith("eprli_lab."):
            return True
        within = within.tb_next
    return False


def parsed(overrides: list[str]) -> list[Any]:
    """The words in Hydra's grammar, one `Override` each. Raises UserError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with composing(overrides):
        found: list[Any] = OverridesParser.create().parse_overrides(overrides)
    return found


def compose_spec(overrides: list[str]) -> RunSpec:
    """The validated spec of the composed config. Raises UserError."""
    return parse_spec(compose_tree(overrides))


def compose_data(overrides: list[str]) -> RunSpec:
    """The same for who looks at training data alone: no suites are needed, and no difficulty (UNMEASURED then)."""
    given = [word.partition("=")[0].lstrip("+") for word in overrides]
    unset = [] if "data.difficulty_file" in given else ["data.difficulty_file=null"]  # where a file says ???
    tree = compose_tree([*unset, *overrides], leave_out=("evaluation",))
    unused = {"generated": {"family": "mod10", "problems": 1}}  # nothing is evaluated
    tree["evaluation"] = {"suites": {"unused": unused}}
    data = tree.get("data", {})
    if isinstance(data, dict) and data.get("difficulty_file") is None and data.get("difficulty_by", "label") == "label":
        data["difficulty_file"] = UNMEASURED
    return parse_spec(tree)


UNMEASURED = "to be measured"
NOT_OF_THE_RUN = ("study", "sweep", "hydra", "preset")


def study_node(cfg: DictConfig) -> dict[str, Any]:
    """The `study` node of a composed config as plain data. Raises UserError where it is none, or misses a value."""
    with composing():
        given: Any = cfg.get("study")
        study = OmegaConf.to_container(given, resolve=True, throw_on_missing=True) if OmegaConf.is_dict(given) else None
    if not isinstance(study, dict):
        raise UserError(
            f"study: {shortened(str(given))} is no study: name one by sweep=NAME, or set its keys, study.seeds=[0,1]"
        )
    return {str(key): value for key, value in study.items()}


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


def hydra_error_sentence(error: Exception, overrides: Sequence[str] | None = None) -> str:
    """One sentence for what Hydra and OmegaConf raise, with the nearest name or the word that they cannot take.

    `overrides`: what was composed; None: the command line.
    """
    given = sys.argv[1:] if overrides is None else overrides
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        within = re.match(r"In '([^']+)'", str(error))
        file = file_of(within[1]) if within else None
        where = f" (in {relative(file)})" if file else ""
        return f"{group}={name}: there is no such {group}{nearest(name, error.options or [])}{where}"
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        word = _refused_word(error, given)
        return f"{shortened(word) if word else 'the command line'}: Hydra cannot read this ({shortened(text)})"
    several = re.match(r"Ambiguous value for argument '(.+?)' 1\.", text)
    if several:
        key = several[1].partition("=")[0]
        return (
            f"{several[1]}: these are several values: with -m each is an arm of a sweep; a list is written "
            f"{key}=[...], a text with a comma in quotes"
        )
    found = re.match(r"Could not override '([^']+)'", text)
    if found:
        return f"{found[1]}: unknown key{_nearest_key(found[1], given)}"
    cause = (
        f" ({' '.join(str(error.__cause__).split())})" if error.__cause__ and str(error.__cause__) not in text else ""
    )
    return text + cause


def _refused_word(error: Exception, overrides: Sequence[str]) -> str:
    """The first word that breaks Hydra in the same way when it stands alone; '' where none does."""
    for word in overrides:
        try:
            with hydra_session():
                compose("config", overrides=[word])
        except type(error):
            return word
        except Exception:  # another error: not this one
            continue
    return ""


def _nearest_key(path: str, overrides: Sequence[str]) -> str:
    """The nearest sibling of the first part of `path` that the composed default config does not know."""
    groups = r"(curriculum|model|data|evaluation|backend|tracking|preset|sweep)="
    chosen = [a for a in overrides if re.match(groups, a)]
    with hydra_session():
        try:
            node: Any = compose("config", overrides=chosen)
        except Exception:  # whatever is wrong with these is said another time
            node = compose("config")
    for part in path.split("."):
        if not isinstance(node, DictConfig):
            return ""
        if part not in node:
            return nearest(part, [str(k) for k in node])
        node = node._get_node(part)
    return ""
