"""From operations to a program: the graph a model builds, the passes that shape it, and its compilation."""
