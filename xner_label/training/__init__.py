"""Gold and silver in, a better NER model out."""
