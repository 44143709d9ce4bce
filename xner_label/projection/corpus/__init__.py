"""Corpus mode: sentences that inform each other."""
