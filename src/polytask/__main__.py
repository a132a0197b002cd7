"""``python -m polytask`` is the command polytask."""

from polytask.cli import main

raise SystemExit(main())
