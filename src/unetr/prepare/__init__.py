"""From files to cases, facts, a plan, and arrays ready for the network. No torch here."""
