"""The Hydra side of sweeping. Hydra scans this module at every start, of any app: nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper

GROUP = "sweep"
DATA = "data"
SMALL_PROBLEMS = 768  # of a small procedural family: as many as are there without a search for the last of them


class SweepFilesSource(FileConfigSource):
    """A plain directory of sweep files, shown to Hydra as the config group `sweep` (`sweeps://<directory>`)."""

    @staticmethod
    def scheme() -> str:
        return "sweeps"

    def available(self) -> bool:
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        head, _, name = config_path.partition("/")
        return head == GROUP and bool(name) and super().is_config(name)

    def load_config(self, config_path: str) -> ConfigResult:
        from yaml import YAMLError

        from eprli_lab.config import own

        name = config_path.partition("/")[2]
        file = Path(self.path) / self._normalize_file_name(name)
        own.refuse_shadow(file, GROUP)
        try:
            return super().load_config(name)
        except (YAMLError, UnicodeDecodeError) as error:
            raise own.damaged(file, error) from None

    def list(self, config_path: str, results_filter: Any) -> Any:
        if config_path == GROUP:
            names = sorted(p.stem for p in Path(self.path).glob("*.yaml"))
            return [] if results_filter == ObjectType.GROUP else names
        return [GROUP] if config_path == "" and results_filter != ObjectType.CONFIG else []


class OwnFilesSource(FileConfigSource):
    """./conf of the working directory (`own://<directory>`): more files in the groups that we have, nothing else."""

    @staticmethod
    def scheme() -> str:
        return "own"

    def available(self) -> bool:
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        return self._holds_a_group(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.rpartition("/")
        if not name or not self._is_a_group(group) or not super().is_config(config_path):
            return False
        ours = self._ours(config_path)
        return not ours.is_file() or ours.read_bytes() != self._file(config_path).read_bytes()

    def load_config(self, config_path: str) -> ConfigResult:
        from omegaconf import OmegaConf
        from yaml import YAMLError

        from eprli_lab.config import own

        file, group = self._file(config_path), config_path.rpartition("/")[0]
        own.refuse_shadow(file, group)
        try:
            result = super().load_config(config_path)
        except (YAMLError, UnicodeDecodeError) as error:
            raise own.damaged(file, error) from None
        package = result.header.get("package") or group.replace("/", ".")
        content: Any = OmegaConf.to_container(result.config, resolve=False)
        if isinstance(content, dict):
            content.pop("defaults", None)
        own.remember(file, "" if package == "_global_" else package.replace("_group_", group), content)
        return result

    def list(self, config_path: str, results_filter: Any) -> Any:
        names = super().list(config_path, results_filter) if self.is_group(config_path) else []
        return [n for n in names if self._is_offered(f"{config_path}/{n}".lstrip("/"))]

    def _is_offered(self, path: str) -> bool:
        return self._holds_a_group(path) or self.is_config(path)

    def _file(self, config_path: str) -> Path:
        return Path(self.path) / self._normalize_file_name(config_path)

    def _ours(self, config_path: str) -> Path:
        from eprli_lab.config.paths import CONF_DIR

        return CONF_DIR / self._normalize_file_name(config_path)

    @staticmethod
    def _is_a_group(path: str) -> bool:
        from eprli_lab.config.own import groups

        return path in groups()

    @staticmethod
    def _holds_a_group(path: str) -> bool:
        from eprli_lab.config.own import groups

        return path == "" or any(g == path or g.startswith(f"{path}/") for g in groups())


class ProceduralSource(FileConfigSource):
    """`data=rg_<set>` for every procedural family (`procedural://<conf>/data`): the file of `int` under its name."""

    @staticmethod
    def scheme() -> str:
        return "procedural"

    def available(self) -> bool:
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", DATA)

    def is_config(self, config_path: str) -> bool:
        from eprli_lab.config.procedural import REFUSED

        head, _, name = config_path.partition("/")
        return head == DATA and (name in self._names() or name.removeprefix("rg_") in REFUSED)

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.partition("/")[2].removesuffix(".yaml")
        result = super().load_config("int")
        config: Any = result.config
        config.name = config.generated.family = name
        if name.startswith("rg_small"):
            config.generated.problems = SMALL_PROBLEMS * (4 if name == "rg_small" else 1)
        return result

    def list(self, config_path: str, results_filter: Any) -> Any:
        if config_path == DATA:
            return [] if results_filter == ObjectType.GROUP else self._names()
        return [DATA] if config_path == "" and results_filter != ObjectType.CONFIG else []

    @staticmethod
    def _names() -> Any:
        from eprli_lab.config.procedural import families

        return sorted(families(""))


class SweepFilesPath(SearchPathPlugin):
    """Adds our sweeps, ./sweeps and ./conf of the working directory, and procedural families, for our own app only."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from eprli_lab.config import own as own_conf
        from eprli_lab.config.paths import CONF_DIR, SWEEPS_DIR

        ours = any(
            e.provider == "main" and e.path is not None and Path(e.path.partition("://")[2] or e.path) == CONF_DIR
            for e in search_path.get_path()
        )
        if not ours:
            return
        own_conf.forget()
        conf = own_conf.own_directory()
        if conf is not None:  # before ours: a file that has the name of one of ours is to be refused, not ignored
            search_path.prepend("eprli-user", f"own://{conf}")
        own = Path.cwd() / "sweeps"
        if own.is_dir() and own.resolve() != SWEEPS_DIR.resolve():
            search_path.append("eprli-user", f"sweeps://{own}")
        search_path.append("eprli", f"sweeps://{SWEEPS_DIR}")
        search_path.append("eprli", f"procedural://{CONF_DIR / DATA}")


@dataclass
class AblationSweeperConf:
    _target_: str = "hydra_plugins.eprli_sweeper.AblationSweeper"


class AblationSweeper(Sweeper):
    """arms x seeds, described by the config node `study`; the work is done in eprli_lab.sweeping."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.loader, self.config, self.launcher = hydra_context.config_loader, config, None
        if not str(config.hydra.launcher._target_).endswith("BasicLauncher"):  # joblib, Ray, submitit
            from hydra.core.plugins import Plugins

            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )

    def sweep(self, arguments: list[str]) -> int:
        from eprli_lab.sweeping.command import sweep

        return sweep(self.loader, self.config, arguments, self.launcher)


ConfigStore.instance().store(group="hydra/sweeper", name="ablation", node=AblationSweeperConf, provider="eprli")
