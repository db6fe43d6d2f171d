"""What the queue's child processes do: segment in one, read what was sent in by others in another."""
