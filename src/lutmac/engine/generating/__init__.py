"""From a prompt to a reply: tokens to text, conversations, the thread of a server."""
