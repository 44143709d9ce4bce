"""Exact inference over spans that don't overlap: the best matching, and marginals."""
