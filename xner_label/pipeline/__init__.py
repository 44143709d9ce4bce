"""Tasks in, predictions out: the stages one after the other, streamed."""
