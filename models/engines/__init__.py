"""Engines: how a head is cut into windows, run through a network and put together again."""
