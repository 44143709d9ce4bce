"""``python -m xner_label`` is the same command as ``xner-label``."""

from xner_label.cli.main import main

if __name__ == "__main__":
    main()
