"""The model over HTTP: OpenAI's interface, Anthropic's, and a page to talk to. It is all in the `server` extra."""
