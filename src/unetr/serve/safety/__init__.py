"""Who may ask the server for what: addresses, hosts, sites, tokens, limits of connections, and what is logged."""
