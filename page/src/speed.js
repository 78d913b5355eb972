// How fast a reply comes.

/** Counts pieces as they come. A piece of a stream is a token, but for characters that take several. */
export class Speed {
  #first = null;
  #last = null;
  #pieces = 0;

  count() {
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#pieces += 1;
  }

  /** Tokens per second after the first token, in words; exact where the number of tokens is given. */
  words(tokens = this.#pieces) {
    const seconds = (this.#last - this.#first) / 1000;
    if (tokens < 2 || !(seconds > 0)) return "";
    const rate = (tokens - 1) / seconds;
    return `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`;
  }
}
