"""What whoever starts the server decides."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one request may ask for. Tokens of prompt and reply are bounded by the model's context in any case.

    body_bytes: of a request's body; more is 413. max_tokens: longest reply, a wish for more is cut down to it; None is
    the context. n: replies to one prompt. prompts: of one request for completions. inputs: texts of one request for
    embeddings, together at most embedding_tokens. stops: stop strings, each of at most stop_characters. biases: tokens
    in logit_bias. prompt_logprobs: entries for tokens of prompts and their alternatives, of one request. tools:
    functions that one request offers. queue: replies that may wait beyond those that run; a request for more is 429.
    stored_bytes: of responses that clients may go on from; the oldest give way, 0 keeps none. file_bytes: of
    uploaded files together, on disk.
    """

    body_bytes: int = 4 * MEBIBYTE
    max_tokens: int | None = None
    n: int = 16
    prompts: int = 64
    inputs: int = 2048
    embedding_tokens: int = 300_000
    stops: int = 1024
    stop_characters: int = 1024
    biases: int = 1024
    prompt_logprobs: int = 1 << 20
    tools: int = 128
    queue: int = 64
    stored_bytes: int = 64 * MEBIBYTE
    file_bytes: int = 1024 * MEBIBYTE


@dataclass(frozen=True)
class Timeouts:
    """Patience, in seconds.

    headers: from a connection's start to the end of a request's head. body: for all of a body. send: for a client to
    take what is sent to it, after which it counts as gone. drain: for replies that run when the server is told to
    stop. keep_alive: between two requests of a connection. comment: a stream that is silent for that long gets a line
    that clients skip, so that nothing between takes it for dead. stored: for which a response can be gone on from.
    """

    headers: float = 20.0
    body: float = 60.0
    send: float = 60.0
    drain: float = 30.0
    keep_alive: int = 15
    comment: float = 15.0
    stored: float = 3600.0


@dataclass(frozen=True)
class Settings:
    """Where the server listens, whom it lets in, and how much it takes.

    host, port: port 0 takes any free one. api_keys: any of them opens the door; none leaves it open. hosts: names
    beside localhost and addresses under which a server without keys may be spoken to. origins: web pages of other
    origins that may call it (CORS). names: what clients may call the model, the first is what it is listed as. strict:
    requests with names that the server does not know are refused; otherwise these are left out.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    strict: bool = False
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
