"""The pipeline over stored tasks, and what the ML backend answers."""
