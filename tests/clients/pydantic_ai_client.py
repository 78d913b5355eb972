# /// script
# dependencies = ["pydantic-ai-slim[openai]==2.68.0"]
# ///
"""pydantic-ai: an agent with a tool, an object, a stream."""

from __future__ import annotations

import asyncio

from checks import BASE, FACTS, MODEL, OVERLONG, QUESTION, TOOL_QUESTION, WEATHER, check
from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import PrepareTools
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition


class Person(BaseModel):
    """The object that is asked for."""

    name: str
    age: int


model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=BASE, api_key="none"))
settings = {"temperature": 0, "max_tokens": 100}
asked_for: list[str] = []


async def main() -> None:
    """All of it."""
    plain = Agent(model, model_settings=settings)
    whole = await plain.run(QUESTION)
    check("chat answers", "Paris" in whole.output, whole)
    usage = whole.usage() if callable(whole.usage) else whole.usage
    check("usage counts both sides", usage.input_tokens > 10 and usage.output_tokens > 2, usage)
    async with plain.run_stream(QUESTION) as stream:
        text = "".join([piece async for piece in stream.stream_text(delta=True)])
    check("streamed chat equals unstreamed", text == whole.output, text)

    async def before_the_result(_: RunContext, tools: list[ToolDefinition]) -> list[ToolDefinition]:
        return [] if asked_for else tools

    agent = Agent(model, model_settings=settings, capabilities=[PrepareTools(before_the_result)])

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Gives the current weather in a city."""
        asked_for.append(city)
        return WEATHER

    answer = (await agent.run(TOOL_QUESTION)).output
    check("the agent calls its tool", "Paris" in asked_for[0], asked_for)
    check("the agent uses the tool's result", "21" in answer or "sunny" in answer.lower(), answer)

    person = (await Agent(model, output_type=Person, model_settings=settings).run(FACTS)).output
    check("an object fits its model", person.age == 36 and "Ada" in person.name, person)
    try:
        await plain.run(OVERLONG)
    except ModelHTTPError as error:
        check("the overflow keeps its words", error.status_code == 400 and "context length" in str(error.body), error)
    else:
        check("an overlong prompt is refused", False)


asyncio.run(main())
