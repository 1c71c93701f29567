"""The benchmarks of airspeed velocity (asv), and comparisons with other libraries, the rivals.

=================  =========================================================================
`common`           the situations: shapes, data (append only)
`contestants`      fastnn, NumPy and scikit-learn behind one interface; `rivals` has the others
`measure`, `peak`  timing side by side; the machine's multiply-add peak
`suite`            what asv measures in every situation; `moons` to `tabular` name the situations
`kernels`          asv: the equations one by one
`startup`          asv: fresh processes
`memory`           asv: peaks over the baseline
`peers`            all rivals in one table (``python -m benchmarks.peers``)
`pipeline`         tables larger than memory, against pyarrow and scikit-learn
`quality`          answers on real tables, against trees and networks (``python -m benchmarks.quality``)
`soak`             threads and forks in long-lived processes (``python -m benchmarks.soak``)
`gate`             the working tree against another commit (``python -m benchmarks.gate BASE``)
`works`            what the gate measures, by name; `instructions` counts them under valgrind
`spread`           how far two runs of the suite are apart
`child`            code that needs a process of its own
`results`          asv's results: the dashboard's history
=================  =========================================================================
"""

import os
from pathlib import Path

# Each commit that asv runs compiles for itself, into its environment's own folder.
if "ASV_ENV_DIR" in os.environ and "ASV_COMMIT" in os.environ:
    _cache = Path(os.environ["ASV_ENV_DIR"]) / "fastnn-cache" / os.environ["ASV_COMMIT"]
    os.environ["FASTNN_CACHE_DIR"] = str(_cache)
