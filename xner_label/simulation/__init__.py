"""The loop of review on text whose entities are known, which plays the people."""
