"""Test figures of every run in a folder, and their mean and spread over seeds: python summary.py RUNS."""

import json
import statistics
import sys
from pathlib import Path

runs = [json.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*/test.json"))]
for name in ("accuracy", "f1", "roc_auc", "average_precision", "log_loss", "calibration_error"):
    values = [run[name] for run in runs]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    each = "  ".join(f"{run[name]:.4f} [{run[f'{name}_low']:.4f}, {run[f'{name}_high']:.4f}]" for run in runs)
    print(f"{name:18} mean {statistics.mean(values):.4f}  sd {spread:.4f}  |  {each}")
