"""Bulk prediction: files of any size in, parts of predictions out, on one machine or on many."""
