"""Projectors with hand-made scores, the paper's among them."""
