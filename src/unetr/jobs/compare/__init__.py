"""Several networks trained alike, each in a process of its own, and ranked."""
