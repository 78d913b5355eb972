"""What an engine says of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EngineStats:
    """A look at an engine between two steps.

    running, waiting: sequences. pages_total, pages_free: of the key-value cache; free ones may still hold what a later
    prompt begins with. slots_total, slots_used: for states of fixed size, and those that sequences have; snapshots: in
    others; snapshot_bytes: of each slot. prompt_tokens, prefix_hit_tokens (of these, found in the cache),
    generated_tokens, preemptions: counted from the beginning. batch_size: sequences of the last step; step_seconds: how
    long it took.
    """

    running: int
    waiting: int
    pages_total: int
    pages_free: int
    slots_total: int
    slots_used: int
    snapshots: int
    snapshot_bytes: int
    prompt_tokens: int
    prefix_hit_tokens: int
    generated_tokens: int
    preemptions: int
    batch_size: int
    step_seconds: float

    @classmethod
    def none(cls) -> EngineStats:
        """Of an engine that is not there."""
        return cls(**dict.fromkeys(cls.__dataclass_fields__, 0))

    def after(self, earlier: EngineStats) -> EngineStats:
        """The same, with what an earlier engine of the same model counted added."""
        return replace(self, **{name: getattr(self, name) + getattr(earlier, name) for name in COUNTED})


COUNTED = ("prompt_tokens", "prefix_hit_tokens", "generated_tokens", "preemptions")  # from the beginning


@dataclass
class Counters:
    """What the engine counts as it goes; EngineStats says what each is."""

    prompt_tokens: int = 0
    prefix_hit_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    batch_size: int = 0
    step_seconds: float = 0.0
