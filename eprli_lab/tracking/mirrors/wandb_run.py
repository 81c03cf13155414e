"""Weights & Biases: a run in its project, online or as WANDB_MODE says, in wandb/ of the working directory."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import getproxies

from eprli_lab.errors import UserError
from eprli_lab.escaping import shown
from eprli_lab.tracking.mirrors.base import MirroredRun, Row
from eprli_lab.tracking.send import PRUNED
from eprli_lab.tracking.uri import check_reachable, first_line

log = logging.getLogger(__name__)
# Without announcements, reports of its own errors, the machine's utilisation (metrics that nobody logged), the command
# line, the packages and the repository. What the environment says goes first.
SETTINGS = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
}
OFFLINE = "set WANDB_MODE=offline (and `wandb sync wandb/offline-run-*` when there is a network)"
NOT_IN_A_PROJECT = "/\\#?%:"  # characters
START_SECONDS = 30.0  # to reach the server, while the run goes on
END_SECONDS = 12.0  # to send what is left; `wandb sync` sends the rest


def quiet_wandb() -> Any:
    """The package, quiet."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    if "wandb" not in sys.modules:  # else a process that starts this one would keep the run open if this one died
        os.environ.pop("WANDB_SERVICE", None)
    import wandb

    return wandb


def check(experiment: str) -> None:
    """Raises UserError where W&B would ask for a key, is not there, or would not take the project."""
    project = os.environ.get("WANDB_PROJECT") or experiment
    wrong = [c for c in NOT_IN_A_PROJECT if c in project]
    if wrong:
        key = "WANDB_PROJECT" if os.environ.get("WANDB_PROJECT") else "tracking.experiment"
        raise UserError(f"{key}: '{project}' is no name for a project of wandb: leave out {' '.join(wrong)}")
    wandb = quiet_wandb()
    try:
        settings = wandb.setup().settings
        if settings.mode != "online":
            return
        has_key = _has_key(settings.base_url)
    except Exception as error:  # e.g. a WANDB_MODE that there is not, a key that is none
        reason = shown(" ".join(str(error).split()))
        raise UserError(f"tracking.mirror: wandb cannot be set up ({reason})") from None
    if not has_key:
        raise UserError(f"tracking.mirror: wandb has no API key: run `wandb login`, set WANDB_API_KEY, or {OFFLINE}")
    try:
        if not getproxies():
            check_reachable(settings.base_url)
    except ConnectionError as error:
        reason = first_line(error)
        raise UserError(
            f"tracking.mirror: wandb's {settings.base_url} cannot be reached ({reason}): {OFFLINE}"
        ) from None


def _has_key(host: str) -> bool:
    """Does W&B find credentials for this server, in the environment or in a file? It is not asked for any."""
    from wandb.sdk.lib import wbauth

    found = wbauth.authenticate_session(host=host, source="eprli-lab", prompt=False, update_session=False)
    return found is not None


def _replace(folder: Path, run: MirroredRun) -> None:
    """`wandb sync` appends the directories of one run to each other, and each of ours holds all of it: one stays."""
    for older in folder.glob(f"offline-run-*-{run.id}"):
        if any(older.glob("*.synced")):
            log.warning(
                "tracking.mirror: a part of %s was synced to wandb before it went on (id %s): delete it there before "
                "you sync it again",
                run.name,
                run.id,
            )
        shutil.rmtree(older)


class WandbRun:
    """Offline, a run that goes on is written anew, whole; online, it goes on behind the last step that W&B has.

    Online a step cannot be completed later: so the newest one waits until the next begins or the run is done, and of a
    run that was interrupted or failed it is sent when that goes on.
    """

    def start(self, run: MirroredRun) -> int:
        """Offline 0, online the step behind the last one that W&B has. Raises what wandb.init raises."""
        wandb = quiet_wandb()
        where = {} if os.environ.get("WANDB_DIR") else {"root_dir": str(run.home)}
        mode = wandb.setup().settings.mode
        settings = wandb.Settings(init_timeout=START_SECONDS, finish_timeout=END_SECONDS, **where)
        self._online = mode in ("online", "shared")
        if mode in ("offline", "dryrun"):
            _replace(Path(settings.wandb_dir), run)
        self._newest: Row | None = None
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or run.experiment,
            group=run.study,
            job_type=run.arm,
            name=run.name,
            id=run.id,
            resume="allow" if self._online else None,
            reinit="create_new",  # other runs of this process stay what they are
            config={**run.params, "tags": dict(run.tags)},
            settings=settings,
        )
        return int(self._run.step)

    def rows(self, rows: Sequence[Row]) -> None:
        """With W&B's own process when it is back, but for the last one."""
        ready = [*([self._newest] if self._newest else []), *rows]
        self._newest = ready.pop()
        for row in ready:
            self._send(row)

    def file(self, path: Path, folder: str) -> None:
        """Among the files of the run, at the same place."""
        target = Path(self._run.dir) / folder / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        self._run.save(str(target), base_path=self._run.dir, policy="now")

    def finish(self, status: str, message: str | None) -> None:
        """The last step; the status in the summary; the exit code that W&B shows as `finished` or `failed`."""
        done = status == "FINISHED" or message == PRUNED
        if self._newest is not None and (done or not self._online):
            self._send(self._newest)
        self._run.summary["eprli.status"] = status
        if message:
            self._run.summary["eprli.ended"] = message
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)

    def _send(self, row: Row) -> None:
        self._run.log({**row.numbers, "_timestamp": row.seconds}, step=row.step)
