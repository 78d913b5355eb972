"""Every error that lutmac raises on purpose, in one hierarchy."""


class LutmacError(Exception):
    """Base of all errors raised by lutmac; its message is one line meant for a person."""


class CheckpointError(LutmacError):
    """A checkpoint cannot be read: missing, truncated, malformed or of an unknown kind."""


class UnsupportedModelError(LutmacError):
    """A well-formed checkpoint needs something lutmac lacks: an architecture, a tensor type, a tokenizer."""


class UnsupportedISAError(LutmacError):
    """The requested ISA target is unknown or this CPU cannot run it."""


class ContextOverflowError(LutmacError):
    """The tokens do not fit into the context.

    tokens: of the prompt, or at least so many. context: positions that there are. Both are None where it is no prompt
    that does not fit.
    """

    def __init__(self, message: str, *, tokens: int | None = None, context: int | None = None) -> None:
        """message: as for any error."""
        super().__init__(message)
        self.tokens = tokens
        self.context = context

    @classmethod
    def of_prompt(cls, tokens: int, context: int, *, at_least: bool = False) -> "ContextOverflowError":
        """A prompt that is too long, in the words by which clients know it (litellm, langchain).

        at_least: whether there may be more tokens.
        """
        count = f"{'at least ' if at_least else ''}{tokens} tokens"
        reply = " and one for the reply" if tokens <= context else ""
        return cls(
            f"prompt is too long: {count}{reply} > {context} maximum; this model's maximum context length is {context} "
            "tokens",
            tokens=tokens,
            context=context,
        )


class InvalidRequestError(LutmacError):
    """A caller's argument is out of range or contradicts another."""


class QueueFullError(LutmacError):
    """As many requests wait already as may; ask again later."""


class EngineClosedError(LutmacError):
    """The engine takes no more requests, or ended one: it is being shut down."""
