"""What all routes share: answers to errors, threads, uploads, files that are sent, measuring."""
