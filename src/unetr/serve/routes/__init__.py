"""The routes of the API, one file a subject. How a job is done is known to the queue alone."""
