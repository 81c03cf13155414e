from eprli_lab.api import AblationTable as AblationTable
from eprli_lab.api import RunResult as RunResult
from eprli_lab.api import Study as Study
from eprli_lab.api import ablation_table as ablation_table
from eprli_lab.api import compose as compose
from eprli_lab.api import figures as figures
from eprli_lab.api import load_study as load_study
from eprli_lab.api import run_sweep as run_sweep
from eprli_lab.api import train as train

__version__: str
