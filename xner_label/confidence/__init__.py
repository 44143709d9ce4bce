"""How sure predictions are and what that is worth: calibration, guarantees, estimates with intervals."""
