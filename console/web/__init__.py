"""The web application: worklist and study pages, JSON, health, metrics and the listener's STOW-RS."""
