"""``python -m fastnn.cli``."""

import sys

from fastnn.cli import main

sys.exit(main())
