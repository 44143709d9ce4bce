"""Taggers: entities of the source, and a CRF for either side."""
