"""The server: a page and an API over HTTP that put scans into the queue and give results back."""
