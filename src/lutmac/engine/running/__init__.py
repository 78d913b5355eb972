"""Sequences through a compiled program: the schedule, the KV cache, steps."""
