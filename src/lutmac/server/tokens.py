"""/tokenize and /detokenize: what a text costs, and what token ids say."""

from __future__ import annotations

from fastapi import Request

from lutmac.server.documents import error_responses, model_for
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.logprobs import token_text
from lutmac.server.preparation import in_thread
from lutmac.server.schemas import completions as schema
from lutmac.server.template_text import chat_template_text
from lutmac.server.tool_choice import chat_tools
from lutmac.server.turn import Turn, continues, encode_turn
from lutmac.text.tokenizer import Tokenizer

router = new_router("tokens")


@router.post("/tokenize", responses=error_responses())
async def tokenize(asked: schema.TokenizeRequest, request: Request) -> schema.TokenizeResponse:
    """Token ids of a text or a conversation."""
    backend = await model_for(request, asked)
    if (asked.prompt is None) == (asked.messages is None):
        raise ApiError(400, "send either prompt or messages", param="prompt")
    if asked.messages is not None:
        tools = tuple(chat_tools(asked.tools, None, backend.omissions))
        turn = Turn(
            asked.messages,
            {},
            tools=tools,
            continues=continues(asked.messages, wish=asked.continue_final_message, begins=asked.add_generation_prompt),
            begins=asked.add_generation_prompt is not False,
            template_arguments=asked.chat_template_kwargs or {},
        )
        ids = (await encode_turn(backend, turn)).ids
    else:
        ids = await backend.encode(
            asked.prompt or "", parse_special=asked.parse_special, add_special=asked.add_special_tokens
        )
    texts = [token_text(backend.model.tokenizer, id) for id in ids] if asked.return_token_strs else None
    tokens = _pieces(backend.model.tokenizer, ids) if asked.with_pieces else ids
    return schema.TokenizeResponse(tokens=tokens, count=len(ids), max_model_len=backend.model.context, token_strs=texts)


@router.post("/detokenize", responses=error_responses())
async def detokenize(asked: schema.DetokenizeRequest, request: Request) -> schema.DetokenizeResponse:
    """The text that token ids stand for."""
    backend = await model_for(request, asked)
    vocabulary = backend.model.tokenizer.vocab_size
    if asked.tokens and max(asked.tokens) >= vocabulary:
        raise ApiError(400, f"token id {max(asked.tokens)} is not in the vocabulary of {vocabulary}", param="tokens")
    text = await in_thread(backend.model.tokenizer.decode, asked.tokens, skip_special=False)
    return schema.DetokenizeResponse(prompt=text, content=text)


@router.get("/tokenizer_info", responses=error_responses(without=(400, 408, 413, 415, 429)))
async def tokenizer_info(request: Request) -> schema.TokenizerInfo:
    """What there is to know of the tokenizer; evaluation harnesses read it."""
    backend = await model_for(request)
    tokenizer = backend.model.tokenizer
    bos, eos = (None if id is None else tokenizer.token_text(id) for id in (tokenizer.bos_id, tokenizer.eos_id))
    return schema.TokenizerInfo(
        tokenizer_class=type(tokenizer).__name__,
        vocab_size=tokenizer.vocab_size,
        model_max_length=backend.model.context,
        bos_token=bos,
        eos_token=eos,
        pad_token=eos,
        add_bos_token=tokenizer.add_bos,
        add_eos_token=tokenizer.add_eos,
        eos_token_ids=sorted(tokenizer.end_of_generation),
        chat_template=chat_template_text(backend.model),
    )


def _pieces(tokenizer: Tokenizer, ids: list[int]) -> list[schema.TokenPiece]:
    found = []
    for id in ids:
        data = tokenizer.token_bytes(id)
        try:
            piece: str | list[int] = data.decode()
        except UnicodeDecodeError:
            piece = list(data)
        found.append(schema.TokenPiece(id=id, piece=piece))
    return found
