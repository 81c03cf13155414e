"""`python -m analysis.report` in a checkout is `eprli-lab report` anywhere."""

import sys

from eprli_lab.cli.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
