"""Facts about scans and datasets, measured. Decides nothing."""
