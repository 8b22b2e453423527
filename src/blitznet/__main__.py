"""`python -m blitznet`, for when the `blitznet` script is not on the PATH."""

import sys

from blitznet.cli import main

sys.exit(main())
