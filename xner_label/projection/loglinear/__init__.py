"""The default projector: a fitted log-linear model."""
