"""Neural checkpoints: finding, fetching and reading them, and where they run."""
