"""`seqgen`, `python -m seqgen_cli`, and `torchrun -m seqgen_cli`."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    from seqgen_cli.cli.main import main  # only now: each worker process imports the `seqgen` script anew, to run none of it

    return main()


if __name__ == "__main__":
    sys.exit(main())
