"""The demonstration: a real Label Studio, the real commands and a simulated reviewer. Not part of the package."""
