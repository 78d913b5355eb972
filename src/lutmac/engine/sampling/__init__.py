"""From logits to a token: options, grammars, log probabilities."""
