"""Weights & Biases: a run in its project, online or as WANDB_MODE says, in wandb/ of the working directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.tracking.mirrors.base import MirroredRun, Row
from eprli_lab.tracking.send import PRUNED

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
NOT_IN_A_PROJECT = "/\\#?%:"  # characters
WAIT_SECONDS = 25.0  # to reach the server at the start, and to be done at the end


def quiet_wandb(home: Path) -> Any:
    """The package, quiet; it writes into `home` unless WANDB_DIR names another place."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    import wandb

    return wandb


def check(experiment: str, home: Path) -> None:
    """Raises UserError where W&B would ask for a key, or not take the project."""
    project = os.environ.get("WANDB_PROJECT") or experiment
    wrong = [c for c in NOT_IN_A_PROJECT if c in project]
    if wrong:
        key = "WANDB_PROJECT" if os.environ.get("WANDB_PROJECT") else "tracking.experiment"
        raise UserError(f"{key}: '{project}' is no name for a project of wandb: leave out {' '.join(wrong)}")
    wandb = quiet_wandb(home)
    try:
        settings = wandb.setup().settings
        if settings.mode != "online" or _has_key(settings.base_url):
            return
    except UserError:
        raise
    except Exception as error:  # e.g. a WANDB_MODE that there is not, a key that is none
        reason = " ".join(str(error).split())
        raise UserError(f"tracking.mirror: wandb cannot be set up ({reason})") from None
    raise UserError(
        "tracking.mirror: wandb has no API key: run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline (and "
        "`wandb sync wandb/offline-run-*` when there is a network)"
    )


def _has_key(host: str) -> bool:
    """Does W&B find credentials for this server, in the environment or in a file? It is not asked for any."""
    from wandb.sdk.lib import wbauth

    found = wbauth.authenticate_session(host=host, source="eprli-lab", prompt=False, update_session=False)
    return found is not None


class WandbRun:
    """Offline, a run that goes on is written anew, whole; online, it goes on behind the last step that W&B has.

    Online a step cannot be completed later: so the newest one waits until the next begins or the run is done, and of a
    run that was interrupted or failed it is sent when that goes on.
    """

    def start(self, run: MirroredRun) -> int:
        """Offline 0, online the step behind the last one that W&B has. Raises what wandb.init raises."""
        wandb = quiet_wandb(run.home)
        where = {} if os.environ.get("WANDB_DIR") else {"root_dir": str(run.home)}
        mode = wandb.setup().settings.mode
        settings = wandb.Settings(init_timeout=WAIT_SECONDS, finish_timeout=WAIT_SECONDS, **where)
        self._online = mode in ("online", "shared")
        if not self._online:
            place = Path(os.environ.get("WANDB_DIR") or run.home)
            for folder in ("wandb", ".wandb"):
                for older in (place / folder).glob(f"offline-run-*-{run.id}"):
                    shutil.rmtree(older)
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
