"""The ground of the node: settings, catalogue, store, queue client, peers, identity, errors, log and metrics."""

__version__ = "0.1.0"
