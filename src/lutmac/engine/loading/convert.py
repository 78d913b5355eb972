"""Any model that loads, written in the native format: one matrix in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import read_json_object
from lutmac.checkpoints import sentence_transformers
from lutmac.checkpoints.dense_module import gguf_dense_tensors
from lutmac.checkpoints.destination import Destination
from lutmac.checkpoints.gguf import GGUFFile, open_gguf
from lutmac.checkpoints.gguf_writer import F32, GGUFEntry, GGUFWriter
from lutmac.checkpoints.native import CONFIG_FILE, GGUF_METADATA_FILE
from lutmac.checkpoints.native_writer import NativeWriter, copy_files, write_config
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import OpenedModel, open_model
from lutmac.engine.loading.resolve import resolve
from lutmac.engine.loading.tensor_source import read_piece, stored_name
from lutmac.engine.loading.tuning import current_tuning
from lutmac.lowbit.matrix import AnyMatrix, LowBitMatrix
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.target import resolve_target

Progress = Callable[[int, int, str], None]
TEXT_FILES: Final = (
    "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.txt", "added_tokens.json", "chat_template.json", "chat_template.jinja", "additional_chat_templates/*.jinja",
    *sentence_transformers.FILES,
)  # fmt: skip
_OF_THE_FILE: Final = ("split.", "general.alignment")


@dataclass(frozen=True)
class Converted:
    """A model that was written. bytes: of all its files."""

    path: Path
    target: str
    tensors: int
    bytes: int


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    isa: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Writes a model to a directory from which it loads without being read or packed: its file is mapped into memory.

    source: what ``load`` takes. isa: the ISA target to pack for; default, this CPU's best. progress: called with
    (bytes done, bytes in all, what). The model is written to ``DESTINATION.partial`` and renamed when it is complete.

    Raises what ``load`` raises, InvalidRequestError where the destination exists or another process writes it, and
    CheckpointError where it cannot be written.
    """
    path, target = resolve(source), resolve_target(isa)
    with open_model(path) as opened, Destination(Path(destination)) as place:
        count = _write(opened, place.make_directory(), target, threads or current_tuning().thread_count, progress)
        place.publish()
    size = sum(file.stat().st_size for file in place.path.rglob("*") if file.is_file())
    return Converted(place.path, target, count, size)


def _write(opened: OpenedModel, directory: Path, target: str, threads: int, progress: Progress | None) -> int:
    _, listed = list_weights(opened)
    write_text_files(opened, directory)
    done, source = 0, opened.source
    names = [*listed.vectors, *listed.matrices]
    with NativeWriter(directory, target=target, names=names) as writer:
        for name in names:
            if name in listed.vectors:
                writer.add_vector(name, source.vector(name))
            else:
                write_matrix(writer, name, read_piece(source, name), target=target, threads=threads)
            stored = stored_name(source, name)
            source.drop_pages(stored)
            entry = source.find(stored)
            pieces = sum(stored_name(source, other) == stored for other in listed.matrices)
            done += entry.nbytes // max(1, pieces) if entry else 0
            if progress is not None:
                progress(done, source.nbytes, "converting")
        writer.finish()
    return len(names)


def write_matrix(writer: NativeWriter, name: str, matrix: AnyMatrix, *, target: str, threads: int) -> int:
    """Packs a matrix and writes it. Returns the bytes that it takes."""
    packer = Packer(target=target, threads=threads)
    packed = packer.add(matrix)
    packer.finish()
    return writer.add_matrix(name, packed, matrix.input_permutation if isinstance(matrix, LowBitMatrix) else None)


def write_text_files(opened: OpenedModel, directory: Path) -> None:
    """The configuration and what a tokenizer needs, as the source has it."""
    if opened.path.is_dir():
        write_config(directory, read_json_object(opened.path / CONFIG_FILE))
        copy_files(opened.path, (*TEXT_FILES, GGUF_METADATA_FILE), directory)
        return
    with open_gguf(opened.path) as file:
        kept = gguf_metadata(file)
    dense = gguf_dense_tensors(opened.embedding.dense)
    entries = [GGUFEntry(name, values.shape, F32, values.nbytes) for name, values in dense.items()]
    trained = opened.config.max_position_embeddings
    write_config(directory, {"model_type": opened.architecture_name, "max_position_embeddings": trained})
    with GGUFWriter(directory / GGUF_METADATA_FILE, kept, entries) as writer:
        for values in dense.values():
            writer.add(values.astype("<f4"))


def gguf_metadata(file: GGUFFile) -> dict[str, Any]:
    """A file's metadata, less what speaks of its tensors' places alone."""
    return {key: value for key, value in file.metadata.items() if not key.startswith(_OF_THE_FILE)}
