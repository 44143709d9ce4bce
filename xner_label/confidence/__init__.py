"""Raw projection scores in, calibrated probabilities out."""
