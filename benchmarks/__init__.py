"""Measures ioring against what people would use instead; see __main__.py and docs/benchmarks.md."""
