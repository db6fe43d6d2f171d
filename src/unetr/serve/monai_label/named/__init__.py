"""What a client names and the scan that it means."""
