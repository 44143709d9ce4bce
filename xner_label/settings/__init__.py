"""What can be configured, in one table, and where its values come from."""
