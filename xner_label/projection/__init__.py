"""From a task to its projected entities: pure computation, no database, no HTTP, no Label Studio."""
