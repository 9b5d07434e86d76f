"""What tools/benchmark.py measures, a module each."""
