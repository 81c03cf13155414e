"""The Python interface: what the command line does, as functions (docs/api.md). A user's mistake raises UserError."""

from eprli_lab.api.runs import RunResult, train
from eprli_lab.api.specs import compose
from eprli_lab.api.studies import Study, load_study, run_sweep
from eprli_lab.api.tables import AblationTable
from eprli_lab.api.views import ablation_table, figures

__all__ = [
    "AblationTable",
    "RunResult",
    "Study",
    "ablation_table",
    "compose",
    "figures",
    "load_study",
    "run_sweep",
    "train",
]
