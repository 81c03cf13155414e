"""`python -m analysis.check` in a checkout is `eprli-lab check` anywhere."""

import sys

from eprli_lab.cli.check import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
