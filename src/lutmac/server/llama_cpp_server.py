"""What llama.cpp's server says of itself, and the text that a conversation becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastapi import Request

import lutmac
from lutmac.engine.sampling.defaults import default_of
from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.server.documents import error_responses, model_for
from lutmac.server.endpoints import new_router
from lutmac.server.llama_cpp_writer import settings
from lutmac.server.logprobs import token_text
from lutmac.server.preparation import in_thread
from lutmac.server.schemas import llama_cpp as schema
from lutmac.server.template_text import chat_template_text
from lutmac.server.tool_choice import chat_tools
from lutmac.server.turn import Turn, continues, encode_turn

router = new_router("llama.cpp")
_ERRORS = error_responses(without=(400, 408, 413, 415, 429))


@router.get("/props", responses=_ERRORS)
async def props(request: Request) -> schema.Props:
    """What is served, and how."""
    backend = await model_for(request)
    tokenizer, info = backend.model.tokenizer, backend.model.info()
    return schema.Props(
        default_generation_settings=schema.GenerationSettings(n_ctx=info.context, params=_defaults(info.sampling)),
        total_slots=backend.model.engine.max_sequences,
        model_alias=backend.name,
        model_path=Path(info.path).name,
        chat_template=chat_template_text(backend.model) or "",
        bos_token="" if tokenizer.bos_id is None else token_text(tokenizer, tokenizer.bos_id),
        eos_token="" if tokenizer.eos_id is None else token_text(tokenizer, tokenizer.eos_id),
        modalities={"vision": False, "audio": False},
        build_info=f"lutmac {lutmac.__version__}",
    )


@router.get("/slots", responses=_ERRORS)
async def slots(request: Request) -> list[schema.Slot]:
    """The places for replies, and whether one is being written in them."""
    backend = await model_for(request)
    running = backend.model.worker.stats().running
    return [
        schema.Slot(id=id, n_ctx=backend.model.context, is_processing=id < running)
        for id in range(backend.model.engine.max_sequences)
    ]


@router.post("/apply-template", responses=error_responses())
async def apply_template(asked: schema.TemplateRequest, request: Request) -> schema.TemplateResponse:
    """The prompt of a conversation, as text."""
    backend = await model_for(request, asked)
    tools = tuple(chat_tools(asked.tools, None, backend.omissions))
    turn = Turn(
        asked.messages,
        {},
        tools=tools,
        continues=continues(asked.messages, wish=None, begins=asked.add_generation_prompt),
        begins=asked.add_generation_prompt is not False,
        template_arguments=asked.chat_template_kwargs or {},
    )
    prompt = await encode_turn(backend, turn)
    text = await in_thread(backend.model.tokenizer.decode, prompt.ids, skip_special=False)
    return schema.TemplateResponse(prompt=text)


def _defaults(stated: Mapping[str, float]) -> dict[str, object]:
    values = {row.llama_cpp_name: default_of(name, stated) for name, row in SAMPLING_OPTIONS.items()}
    defaults = {name: value for name, value in values.items() if value is not None}
    return {**settings(schema.CompletionOptions()), **defaults}
