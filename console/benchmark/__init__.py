"""Figures of this machine, each beside a peer measured in the same run; the source of `docs/benchmarks.md`."""
