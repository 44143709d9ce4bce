"""What to review, in which order, until when."""
