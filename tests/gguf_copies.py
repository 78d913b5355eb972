"""Copies of GGUF files, with other keys or tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gguf


def add_fields(reader: gguf.GGUFReader, writer: gguf.GGUFWriter, values: Mapping[str, Any] | None = None) -> None:
    """Adds a file's keys but its architecture, which a writer has; some with other values, None: without the key."""
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            value = (values or {}).get(field.name, field.contents())
            if value is not None:
                writer.add_key_value(field.name, value, field.types[0], element)


def write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
