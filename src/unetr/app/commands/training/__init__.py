"""Commands that train or measure networks."""
