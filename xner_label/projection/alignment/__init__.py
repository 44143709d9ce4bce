"""Word aligners, and the links they produce."""
