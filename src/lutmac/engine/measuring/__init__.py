"""What a model reaches: perplexity, and models of random weights to time."""
