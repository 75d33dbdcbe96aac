"""Alembic's environment of the catalogue; it ships inside the package and runs when a catalogue is opened."""
