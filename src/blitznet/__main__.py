"""`python -m blitznet`, for where the script is not on the path."""

import sys

from blitznet.cli import main

sys.exit(main())
