"""OHIF for browsers: its files, and what it reads from the PACS."""
