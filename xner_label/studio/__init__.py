"""Everything that speaks Label Studio."""
