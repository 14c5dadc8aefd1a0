"""`python -m mamtra` is the command `mamtra`."""

import sys

from mamtra.cli import main

sys.exit(main())
