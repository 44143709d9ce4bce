"""Files in, files out: tasks imported from what people have, gold and silver exported to what they use."""
