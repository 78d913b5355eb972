// Talking to the server: which models there are, and a reply as it comes.

/** A request that failed. status: of HTTP, 0 where no answer came. code: the server's. retryAfter: seconds, or null. */
export class ApiFailure extends Error {
  constructor(status, message, code = null, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The models of the server, as /v1/models lists them. Throws ApiFailure. */
export async function listModels(key) {
  const reply = await request("/v1/models", { headers: headers(key) });
  return (await reply.json()).data;
}

/** Of each of several models its `names`, whether it is loaded (`value`), and while it loads its `progress`, from 0 to 1. */
export async function modelStates(key) {
  return (await (await request("/health", { headers: headers(key) })).json()).models ?? [];
}

/**
 * Asks for a reply and hands its text on piece by piece, and what the model thinks before it. body: for /v1/chat/completions, without what makes it stream.
 * Returns the usage and why it ended. Throws ApiFailure, and AbortError once the signal stops it.
 */
export async function streamChat(body, { key, signal, onText, onThought }) {
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  const reply = await request("/v1/chat/completions", {
    method: "POST", headers: { ...headers(key), "Content-Type": "application/json" }, body: JSON.stringify(asked), signal,
  });
  const ended = { usage: null, reason: null };
  for await (const event of events(reply.body)) {
    if (event === "[DONE]") return ended;
    const chunk = JSON.parse(event);
    if (chunk.error) throw new ApiFailure(500, chunk.error.message, chunk.error.code);
    const choice = chunk.choices[0];
    if (choice?.delta.reasoning_content) onThought(choice.delta.reasoning_content);
    if (choice?.delta.content) onText(choice.delta.content);
    ended.reason = choice?.finish_reason ?? ended.reason;
    ended.usage = chunk.usage ?? ended.usage;
  }
  throw new ApiFailure(0, "the connection ended before the reply did");
}

function headers(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function request(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    throw asFailure(error);
  }
  if (reply.ok) return reply;
  const told = await reply.json().catch(() => ({}));
  const wait = parseInt(reply.headers.get("Retry-After"), 10);
  throw new ApiFailure(reply.status, told.error?.message ?? reply.statusText, told.error?.code, Number.isNaN(wait) ? null : wait);
}

/** The data of each server-sent event. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => { throw asFailure(error); });
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trimStart();
  }
}

function asFailure(error) {
  return error.name === "AbortError" ? error : new ApiFailure(0, error.message);
}

/** How many tokens a conversation has for the model. body: for /v1/messages/count_tokens. Throws ApiFailure. */
export async function countTokens(body, key, signal) {
  const options = { method: "POST", headers: { ...headers(key), "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  return (await (await request("/v1/messages/count_tokens", options)).json()).input_tokens;
}
