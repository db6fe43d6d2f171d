"""The plan and the fingerprint: their fields, limits and files. Knows what a plan says, not how it is chosen."""
