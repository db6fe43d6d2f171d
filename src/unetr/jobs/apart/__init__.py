"""Jobs in processes of their own: what is asked for and what comes of it are JSON, in a folder that both can reach."""
