"""The network without torch: its forward pass in primitive operations, for other runtimes."""
