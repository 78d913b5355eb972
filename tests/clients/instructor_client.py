# /// script
# dependencies = ["instructor==1.17.0"]
# ///
"""instructor: pydantic models from the model's tool calls, its JSON mode and JSON schemas, whole and in parts."""

from __future__ import annotations

import instructor
import openai
from checks import BASE, FACTS, MODEL, check
from pydantic import BaseModel


class Address(BaseModel):
    """A nested model: its schema has $defs."""

    city: str


class Person(BaseModel):
    """The object that is asked for."""

    name: str
    age: int


class Resident(Person):
    """With a nested object."""

    address: Address


def patched(mode: instructor.Mode) -> instructor.Instructor:
    """A client that asks in this way."""
    return instructor.from_openai(openai.OpenAI(base_url=BASE, api_key="none", max_retries=0), mode=mode)


messages = [{"role": "user", "content": FACTS}]
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA):
    ask = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 100, "max_retries": 0}
    person = patched(mode).chat.completions.create(response_model=Person, **ask)
    check(f"{mode.name}: an object fits its model", person.age == 36 and "Ada" in person.name, person)
    *_, last = patched(mode).chat.completions.create_partial(response_model=Person, **ask)
    check(
        f"{mode.name}: streamed parts end in the same object", (last.name, last.age) == (person.name, person.age), last
    )
where = [{"role": "user", "content": FACTS + " She lived in London."}]
resident = patched(instructor.Mode.TOOLS).chat.completions.create(
    model=MODEL, messages=where, response_model=Resident, temperature=0, max_tokens=100, max_retries=0
)
check("a nested model is filled", "London" in resident.address.city, resident)
