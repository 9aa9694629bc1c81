"""`python -m seqgen_cli`, and `torchrun -m seqgen_cli`."""

import sys

from seqgen_cli.cli import main

sys.exit(main())
