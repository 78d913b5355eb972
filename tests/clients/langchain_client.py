# /// script
# dependencies = ["langchain==1.5.2", "langchain-openai==1.7.4"]
# ///
"""langchain: a chat model, an agent with a tool, an object, and the overflow that it recognises."""

from __future__ import annotations

from collections.abc import Callable

from checks import BASE, FACTS, MODEL, OVERLONG, QUESTION, TOOL_QUESTION, WEATHER, check
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.exceptions import ContextOverflowError
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Person(BaseModel):
    """The object that is asked for."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Gives the current weather in a city."""
    asked_for.append(city)
    return WEATHER


asked_for: list[str] = []
model = ChatOpenAI(model=MODEL, base_url=BASE, api_key="none", temperature=0, max_retries=0, max_tokens=100)

whole = model.invoke(QUESTION)
check("chat answers", "Paris" in whole.content, whole)
check("usage counts both sides", whole.usage_metadata["input_tokens"] > 10, whole.usage_metadata)
text = "".join(piece.content for piece in model.stream(QUESTION))
check("streamed chat equals unstreamed", text == whole.content, text)


@wrap_model_call
def answer_after_result(request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
    """Offers no tool beside the result of one."""
    return handler(request.override(tools=[]) if asked_for else request)


agent = create_agent(model, tools=[get_weather], middleware=[answer_after_result])
last = agent.invoke({"messages": [{"role": "user", "content": TOOL_QUESTION}]})["messages"][-1]
check("the agent calls its tool", "Paris" in asked_for[0], asked_for)
check("the agent uses the tool's result", "21" in last.content or "sunny" in last.content.lower(), last)

for method in ("json_schema", "function_calling"):
    person = model.with_structured_output(Person, method=method).invoke(FACTS)
    check(f"{method}: an object fits its model", person.age == 36 and "Ada" in person.name, person)

try:
    model.invoke(OVERLONG)
except ContextOverflowError:
    check("the overflow is a ContextOverflowError", True)
else:
    check("an overlong prompt is refused", False)
