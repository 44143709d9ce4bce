"""From source entities and links to entities of the target: pure computation."""
