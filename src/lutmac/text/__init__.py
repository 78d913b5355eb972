"""Text to token ids and back, and chats to prompts."""

from lutmac.text.chat import ChatTemplate, encode_chat
from lutmac.text.stream import StreamDecoder
from lutmac.text.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "StreamDecoder", "Tokenizer", "encode_chat"]
