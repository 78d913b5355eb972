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
    """The tokens do not fit into the context."""


class InvalidRequestError(LutmacError):
    """A caller's argument is out of range or contradicts another."""


class QueueFullError(LutmacError):
    """As many requests wait already as may; ask again later."""


class EngineClosedError(LutmacError):
    """The engine takes no more requests, or ended one: it is being shut down."""
