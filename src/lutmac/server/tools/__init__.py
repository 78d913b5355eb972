"""Tools: how models write that they call them, and think before, and how that is read back while it streams."""

from lutmac.server.tools.calls import (
    CallArguments,
    CallBegin,
    CallEnd,
    Part,
    Text,
    Thought,
    Tool,
    ToolCall,
)
from lutmac.server.tools.families import FAMILIES, HERMES, Family, find_family
from lutmac.server.tools.parser import ReplyParser

__all__ = [
    "FAMILIES",
    "HERMES",
    "CallArguments",
    "CallBegin",
    "CallEnd",
    "Family",
    "Part",
    "ReplyParser",
    "Text",
    "Thought",
    "Tool",
    "ToolCall",
    "find_family",
]
