"""Stored objects on their way to other systems."""
