"""What a worker does beside the commands that people type: jobs, by kind, from the store."""
