"""What can be wrong with a dataset, before and after preparation."""
