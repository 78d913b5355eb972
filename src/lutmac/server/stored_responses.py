"""What can be done with a response that is there: read it, read its input, cancel it, forget it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response as HttpResponse

from lutmac.server.documents import error_responses, models_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.response_input import listed_items
from lutmac.server.schemas import responses as schema

router = new_router("OpenAI")
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/v1/responses/{response_id}", response_model=schema.Response, responses=error_responses())
async def stored_response(response_id: str, request: Request) -> HttpResponse:
    """A response that was given before, or how far one has come that runs in the background."""
    models = models_of(request)
    running = models.background.find(response_id)
    body = models.responses.response(response_id) if running is None else running.model_dump_json().encode()
    return HttpResponse(body, media_type="application/json")


@router.get("/v1/responses/{response_id}/input_items", responses=error_responses())
async def response_input_items(
    response_id: str,
    request: Request,
    limit: Limit = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> schema.InputItemList:
    """What a response was the answer to, item by item; the latest first, unless ``order`` says otherwise."""
    items = listed_items(response_id, models_of(request).responses.input(response_id))
    if order == "desc":
        items.reverse()
    if after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise ApiError(400, f"no item is called {after[:80]!r}", param="after")
        items = items[places[0] + 1 :]
    page = items[:limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return schema.InputItemList(data=page, first_id=first, last_id=last, has_more=len(items) > limit)


@router.post("/v1/responses/{response_id}/cancel", response_model=schema.Response, responses=error_responses())
async def cancel_response(response_id: str, request: Request) -> HttpResponse:
    """Ends a response that runs in the background; one that has ended is given as it is."""
    found = await models_of(request).background.cancel(response_id)
    return HttpResponse(found.model_dump_json(), media_type="application/json")


@router.delete("/v1/responses/{response_id}", responses=error_responses())
async def delete_response(response_id: str, request: Request) -> schema.DeletedResponse:
    """Forgets a response. Those that went on from it keep what they need of it."""
    models_of(request).responses.delete(response_id)
    return schema.DeletedResponse(id=response_id)
