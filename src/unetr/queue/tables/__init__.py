"""The tables of the queue's database, and the part of the store that is about scans."""
