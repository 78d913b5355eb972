// What went wrong, for a person.

/** A sentence that says what happened and what to do. */
export function inWords(failure) {
  if (failure.code === "context_length_exceeded") {
    return "This conversation is longer than the model can read. Begin a new one, or ask for a shorter reply in the settings.";
  }
  if (failure.code === "model_load_failed") return "The server cannot load this model. Choose another in the settings.";
  switch (failure.status) {
    case 0: return "The server cannot be reached, or broke off. See whether it still runs, then try again.";
    case 401: return "The server did not take the API key. Enter one that it knows.";
    case 403: return "The server does not let this page in.";
    case 404: return "The server does not know this model. Choose another in the settings.";
    case 413: return "The message is longer than the server takes. Shorten it.";
    case 429: return `The server is busy with others. Try again in ${failure.retryAfter ?? "a few"} seconds.`;
    case 503: return "The server is about to end. Try again once it is back.";
    case 507: return "The model does not fit into the server's memory. Choose a smaller one.";
    default: return failure.status < 500 ? "The server did not take the request." : "Something failed in the server.";
  }
}
