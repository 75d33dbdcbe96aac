"""Networks as plain torch modules, and the table that builds them by name."""
