"""The engine: sequences, their pages of the cache, what runs next, and what a caller sees of it."""
