"""Model files in and out: exported for other runtimes, converted from other projects."""
