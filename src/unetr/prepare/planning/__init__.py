"""From measured facts to a plan, each choice with its reason."""
