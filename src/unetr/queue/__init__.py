"""Jobs that outlive the process: what was asked for is kept on disk until its result is delivered, and done once."""
