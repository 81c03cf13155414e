"""Hydra entry point: config -> spec -> train -> score.

    python -m eprli_lab.run                          one run
    python -m eprli_lab.run -m sweep=levels          one ablation: arms x seeds, a table at the end

Only Hydra is imported at the top: `--help`, `--cfg job` and a refused config answer before torch could load.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from eprli_lab.cli.single import run_single
from eprli_lab.config.compose import hydra_error_sentence
from eprli_lab.config.overrides import defer_level_overrides, expand_shortcuts
from eprli_lab.config.paths import CONF_DIR
from eprli_lab.errors import NonFiniteError, UserError

_exit_code = 0
_errors: list[Exception] = []  # of jobs; raised in Hydra's job they would be printed by Hydra as well


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    global _exit_code
    try:
        _exit_code = max(_exit_code, run_single(cfg))
    except (UserError, NonFiniteError, OSError) as error:
        if cfg.study.job:  # in another process: the launcher carries it home
            raise
        _errors.append(error)


def main() -> None:
    """Console entry: exit code 0, 1 (a run failed), 2 (the user's mistake, one sentence), 130 (interrupted)."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed by Hydra
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.argv[1:] = defer_level_overrides(expand_shortcuts(sys.argv[1:]))
    try:
        _hydra_main()
        for error in _errors:
            raise error
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sentence = str(error) if isinstance(error, UserError) else hydra_error_sentence(error)
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
