"""What comes before the projection: translating, tagging and aligning."""
