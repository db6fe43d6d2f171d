"""Text that anyone may have written: read within limits, made into records, and made safe to show."""
