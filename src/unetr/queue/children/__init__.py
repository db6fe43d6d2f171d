"""The parent's side of the queue's child processes: starting, watching, ending and replacing them."""
