"""The database: tables, sessions and queries. The only place that writes SQL."""
