"""`python -m eprli_lab.run` is `eprli-lab run`: Hydra's main and exit codes.

python -m eprli_lab.run                          one run
python -m eprli_lab.run -m sweep=levels          one ablation: arms x seeds, a table at the end
"""

import sys

from eprli_lab.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
