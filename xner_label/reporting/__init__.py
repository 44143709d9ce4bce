"""What stands where, for people: status and diagnosis."""
