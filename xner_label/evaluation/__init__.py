"""Metrics, their intervals, and comparisons of projectors on gold."""
