"""The compiled half of lutmac: packed matrices, the program and its executor, the sampler.

Arguments are checked; a wrong one raises ValueError. Long computations release the GIL.
"""

from typing import Any

from numpy.typing import NDArray

PAGE_TOKENS: int  # positions per page of the key-value cache

def available_targets() -> list[str]:
    """ISA targets that this CPU runs, best first; the last is "portable"."""

def built_targets() -> list[str]:
    """ISA targets that this build holds, best first."""

def target_table() -> list[tuple[str, str, str]]:
    """(name, packing, features) of every ISA target that lutmac has, best first, also of other architectures."""

def computes_by_role(target: str) -> bool:
    """Whether a target's products of prompts have another arithmetic than those of generated tokens."""

def default_threads() -> int:
    """One per physical core that the process may use: affinity and cgroup quota considered."""

def set_tuning(*, spin_microseconds: int, tasks_per_product: int, block_kilobytes: int) -> None:
    """How programs made from now on are cut into tasks, and how long waiting threads spin (0 to 50)."""

def memory_read_rate(threads: int, megabytes: int, passes: int) -> float:
    """Best rate, in bytes per second, of reading a buffer of that size with that many threads."""

def clock_rate() -> float:
    """Cycles per second of this thread's core, as it runs now."""

def resident_bytes() -> int:
    """Resident set size of this process now; see peak_resident_bytes for its maximum."""

def peak_resident_bytes() -> int: ...
def end_after_signal(signals: list[int], seconds: int) -> None:
    """From the next of the signals on, the process has so many seconds left, then it exits with status 1.

    Also where no thread ever comes back to the interpreter. Their handlers of now still run; a signal that is given a
    handler later is not watched any more. Uses SIGALRM: ``signal.alarm(0)`` calls it off.
    """

class Packer:
    """Packs matrices for one ISA target, many in one go, without holding the interpreter."""

    def __init__(self, *, target: str, threads: int) -> None: ...
    def add_lowbit(self, matrix: Any) -> Matrix:
        """matrix: a LowBitMatrix. What is added has its shape and size now, and its contents after ``finish``."""

    def add_dense(self, data: NDArray[Any]) -> Matrix:
        """data: [rows, columns] float32, float16, or uint16 holding bfloat16 bits."""

    def stream_lowbit(self, matrix: Any) -> Matrix:
        """As add_lowbit, but rows are read from the matrix's arrays when they are looked up: no products."""

    def stream_dense(self, data: NDArray[Any]) -> Matrix:
        """As add_dense, streamed as above."""

    def add_random(
        self,
        *,
        rows: int,
        columns: int,
        bits: int,
        group_size: int,
        scale_exponent: int,
        seed: int,
        ternary: bool = False,
    ) -> Matrix:
        """Random codes, float16 scales from 2**scale_exponent to twice that, the mean code as zero point.

        ternary: bits is 2, and group_size is columns.
        """

    def finish(self) -> None:
        """Packs what was added, and lets go of the arrays that it came from."""

    def pack(self, most_bytes: int) -> bool:
        """Packs about so many bytes of it, in the order in which it was added; whether that was all."""

class Matrix:
    """A matrix in the packing of one ISA target. Immutable. A Packer makes it."""

    @property
    def shape(self) -> MatrixShape: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def kind(self) -> str:
        """ "lowbit" or "dense"."""

    @property
    def bits(self) -> int:
        """Bits per code (dense: of an element; ternary: 2, though five codes take a byte)."""

    @property
    def codes(self) -> str:
        """What codes mean: "affine", "codebook", "ternary", "float8" ("floats" where it is dense)."""

    @property
    def group_size(self) -> int: ...
    @property
    def target(self) -> str: ...
    @property
    def nbytes(self) -> int:
        """Bytes of codes and parameters: what a product of one token reads."""

    @property
    def form(self) -> str:
        """Form of activations that the default product takes: "tables", "integers", "ternary" or "plain"."""

    @property
    def rounded_form(self) -> str:
        """That of the fastest product, which may round what the default one does not: "bf16" where it is dense and the
        target multiplies bf16, else ``form``.
        """

    def unpack_rows(self, ids: NDArray[Any]) -> NDArray[Any]:
        """ids: [n] int32 -> [n, columns] float32."""

    def matmul(
        self, x: NDArray[Any], *, exact: bool, prompt: bool = False, rounded: bool = False, threads: int
    ) -> NDArray[Any]:
        """x: [n, columns] float32 -> [n, rows] float32. prompt: in the arithmetic of prompts' rows. rounded: on
        activations in ``rounded_form``.
        """

class MatrixShape:
    """What a packed matrix is, apart from its bytes; LowBitMatrix of lutmac.lowbit.matrix says what the words mean.

    Fields of a low-bit one: rows, columns, codes ("affine", "codebook", "ternary" or "float8"), bits, group_size,
    zero_point, factor, scale and offset (names of SCALE_KINDS), scale_groups_per_super and offset_groups_per_super, and
    codebook and second_codebook, 16 numbers each, where it has them. Of a dense one: rows, columns, and floats ("f32",
    "f16" or "bf16").
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        """Raises ValueError where the fields are wrong, or contradict each other."""

    def fields(self) -> dict[str, Any]:
        """What made it; JSON takes it."""

    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def part_names(self) -> tuple[str, ...]:
        """Its parts in any packing: codes or floats, scale, scale_super, offset, offset_super, as far as there."""

# (name, bytes of a value, kind of its super-scale or "none") of every kind of scale and offset; "none" is the first.
SCALE_KINDS: tuple[tuple[str, int, str], ...]

def matrix_parts(matrix: Matrix) -> list[NDArray[Any]]:
    """Its bytes, uint8, read-only, in the order of its shape's part_names.

    Each has a length that is a multiple of 64, and keeps the matrix alive.
    """

def map_matrix(shape: MatrixShape, parts: list[NDArray[Any]], *, target: str) -> Matrix:
    """A matrix over bytes that are in the target's packing, aligned to 64 bytes. They are not copied."""

def unpack_matrix(shape: MatrixShape, parts: list[NDArray[Any]], *, packing: str) -> dict[str, NDArray[Any]]:
    """Parts out of a packing, by name: codes [rows, columns], of others the bytes of their values [rows, bytes].

    packing: of any target, as target_table names it.
    """

def form_stride(form: str, width: int) -> int:
    """Bytes from one token to the next in a buffer of that form ("plain", "tables", "integers", "ternary")."""

class Buffer:
    """Rows in the arena, at a byte offset: for each token, or for each row that wants outputs, per_token of them.

    order: a permutation [width] int32 in which the floats of a row are put before they are turned into the form.
    """

    def __init__(
        self, *, offset: int, form: str, width: int, outputs: bool, per_token: int, order: NDArray[Any] | None
    ) -> None: ...

class State:
    """What a program keeps for every sequence, by its number."""

    def __init__(self, index: int) -> None: ...

class Program:
    """The flat list of operations for one step. Build it once (``add_pages``, ``add``, in order), then run it often.

    Buffers lie in one arena; a row takes ``form_stride(form, width)`` bytes.
    """

    def __init__(
        self, *, target: str, max_tokens: int, max_sequences: int, max_context: int, arena_bytes: int
    ) -> None: ...
    def add_pages(
        self,
        *,
        group: int,
        cache_type: str,
        num_kv_heads: int,
        head_dim: int,
        value_dim: int,
        window: int,
        latent: bool = False,
    ) -> None:
        """The next state: keys and values of a layer, in that cache group. cache_type: "f16", "f32" or "int8".

        latent: a value is the first value_dim floats of its key.
        """

    def add_slot(self, *, group: int, bytes: int) -> None:
        """The next state: a slot, in a group of slots, whose page table has one column. bytes: a multiple of 64."""

    def add(self, name: str, fields: dict[str, Any], *, together: bool) -> None:
        """An operation: native/ops/ has a file of that name, which says what fields it has.

        A field is a Buffer, a State, a Matrix, a list of one of these, a float32 array, a number or a text. together:
        it runs side by side with the one before. Raises ValueError, naming operation and field.
        """

    def step(
        self,
        cache: Cache,
        *,
        tokens: NDArray[Any],
        sequence_start: NDArray[Any],
        first_position: NDArray[Any],
        page_tables: list[NDArray[Any]],
        output_rows: NDArray[Any],
        logits: NDArray[Any] | None,
        hidden: NDArray[Any] | None = None,
        threads: int,
        interruptible: bool = False,
        generated_rows: int | None = None,
        token_types: NDArray[Any] | None = None,
    ) -> None:
        """Runs one step. tokens [n], sequence_start [s + 1], first_position [s], output_rows [r]: int32.
        token_types: [n] int32, None where all are 0.

        page_tables: one [s, pages] int32 array per cache group. logits: [at most r, vocab] float32, written: of the
        first of the output rows; hidden: [r, hidden size] float32, likewise the final hidden states of all of them.
        Where there are output rows, one of them must be given.

        generated_rows: so many of the tokens, the first, are generated; the others are of prompts, which a target may
        compute with another arithmetic. None: all. Output rows of generated tokens come first, too.

        interruptible: whether signals are looked at between operations, for a call of the main thread. What a handler
        raises, such as KeyboardInterrupt, ends the step; what it was to write is then written in part.
        """

    def start_trace(self) -> None:
        """Steps are traced from now on, until take_trace."""

    def take_trace(self) -> NDArray[Any]:
        """[events, 7] int64: thread, operation, phase, tasks that it ran, begin, end of these, end of all tasks.

        Times are nanoseconds of a monotonic clock. Operations are numbered as they were added, those that run side by
        side as one; operation -1 is a thread's whole step, whose tasks are the step's tokens.
        """

class Cache:
    """Pages of keys and values, in memory that the system hands out as it is first written."""

    def __init__(self, *, num_pages: list[int], state_groups: list[int], state_page_bytes: list[int]) -> None:
        """num_pages: per cache group. state_groups: cache group of each state. state_page_bytes: per state."""

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page (or a slot) of a group to another; not while a step runs."""

    @property
    def nbytes(self) -> int: ...

def page_bytes(*, cache_type: str, num_kv_heads: int, head_dim: int, value_dim: int, latent: bool = False) -> int:
    """Bytes of PAGE_TOKENS positions of one layer. cache_type: "f16", "f32" or "int8"."""

class Sampler:
    """Draws token ids from logits. Same seed and same calls, same ids."""

    def __init__(
        self, numbers: dict[str, float], *, logit_bias_ids: NDArray[Any], logit_bias: NDArray[Any], seed: int
    ) -> None:
        """numbers: options by their names in engine/sampling/options.py; what is left out is off.

        logit_bias_ids [b] int32 and logit_bias [b] float32. Raises ValueError for a number that is not finite, and for
        a name that the sampler lacks.
        """

    def sample(self, logits: NDArray[Any], penalized: NDArray[Any], generated_from: int) -> int:
        """logits: [vocab] float32, left as it is.

        penalized: [t] int32, the tokens so far. repetition_penalty looks at all of them; presence and frequency
        penalties at those from index generated_from on (what was generated), as OpenAI's API defines them.
        """
