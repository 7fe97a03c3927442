"""``python -m virt_ova.cli``."""

import sys

from virt_ova.cli import main

sys.exit(main())
