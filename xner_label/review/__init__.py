"""What people are asked next, and what an answer settles beyond the place where it was given."""
