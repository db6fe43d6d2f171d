"""One optimiser step and what it needs: optimiser, schedule, first weights."""
