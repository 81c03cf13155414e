"""`python -m eprli_lab.sweeps` is `eprli-lab sweeps`, and with `status` first `eprli-lab status`."""

import sys

from eprli_lab.cli.status import command as status
from eprli_lab.cli.sweeps import command as sweeps

if __name__ == "__main__":
    sys.exit(status.run(sys.argv[2:]) if sys.argv[1:2] == ["status"] else sweeps.run(sys.argv[1:]))
