# /// script
# dependencies = ["openai-agents==0.24.0"]
# ///
"""openai-agents: an agent with a tool and one with an object, by chat completions and by responses."""

from __future__ import annotations

import asyncio

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from checks import BASE, FACTS, MODEL, QUESTION, TOOL_QUESTION, WEATHER, check
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)
client = AsyncOpenAI(base_url=BASE, api_key="none", max_retries=0)
greedy = ModelSettings(temperature=0, max_tokens=100, include_usage=True)
asked_for: list[str] = []


class Person(BaseModel):
    """The object that is asked for."""

    name: str
    age: int


@function_tool(is_enabled=lambda *_: not asked_for)  # the model is small: see checks.py
def get_weather(city: str) -> str:
    """Gives the current weather in a city."""
    asked_for.append(city)
    return WEATHER


async def main() -> None:
    """Each of the two interfaces."""
    for kind in (OpenAIChatCompletionsModel, OpenAIResponsesModel):
        name, model = kind.__name__, kind(model=MODEL, openai_client=client)
        plain = Agent(name="plain", model=model, model_settings=greedy)
        whole = await Runner.run(plain, QUESTION)
        check(f"{name}: chat answers", "Paris" in whole.final_output, whole.final_output)
        streamed = Runner.run_streamed(plain, QUESTION)
        async for _ in streamed.stream_events():
            pass
        check(f"{name}: streamed equals unstreamed", streamed.final_output == whole.final_output, streamed.final_output)

        asked_for.clear()
        agent = Agent(name="weather", model=model, tools=[get_weather], model_settings=greedy)
        answer = (await Runner.run(agent, TOOL_QUESTION, max_turns=4)).final_output
        check(f"{name}: the agent calls its tool", asked_for and "Paris" in asked_for[0], asked_for)
        check(f"{name}: the agent uses its result", "21" in answer or "sunny" in answer.lower(), answer)

        parser = Agent(name="parser", model=model, output_type=Person, model_settings=greedy)
        person = (await Runner.run(parser, FACTS)).final_output
        check(f"{name}: an object fits its model", person.age == 36, person)


asyncio.run(main())
