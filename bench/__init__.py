"""Benchmarks: what the product does, beside its peers, in turn in one run on real parts."""
