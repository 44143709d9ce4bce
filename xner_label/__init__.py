"""XNER-Label: named entities projected across languages, reviewed in Label Studio, learned from."""

__version__ = "0.1.0"
