"""What to ask people next: sentences, names, and what an answer settles."""
