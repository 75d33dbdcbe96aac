"""Training from a command line: data sets read the node's own way, and what comes of it."""
