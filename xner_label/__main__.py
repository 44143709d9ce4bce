"""``python -m xner_label`` is the same command as ``xner-label``; in a checkout nothing needs to be installed."""

import sys
from pathlib import Path

from xner_label.cli.main import main

if __name__ == "__main__":
    backend = Path(__file__).parents[1] / "backend"
    if (backend / "xner_label_backend").is_dir():
        sys.path.append(str(backend))
    main()
