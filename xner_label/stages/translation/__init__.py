"""Translators into the language of the tagger."""
