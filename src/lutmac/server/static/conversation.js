// The conversation, kept in the browser so that it outlives a reload.

const PLACE = "lutmac.conversation";

/** Messages with a role ("user", "assistant"), their text, what the model thought before it, and a note about how it came. */
export class Conversation {
  constructor() {
    this.messages = stored();
  }

  get last() {
    return this.messages.at(-1);
  }

  add(role, content, note = "") {
    const message = { role, content, thoughts: "", note };
    this.messages.push(message);
    this.save();
    return message;
  }

  /** Takes the last reply away, so that another can be asked for. */
  dropReply() {
    if (this.last?.role === "assistant") this.messages.pop();
    this.save();
  }

  clear() {
    this.messages = [];
    this.save();
  }

  /** A browser that keeps nothing, or is full, loses no more than the memory of a reload. */
  save() {
    try {
      localStorage.setItem(PLACE, JSON.stringify(this.messages));
    } catch {
      return;
    }
  }

  /** What the server is asked to go on with. */
  asked(system) {
    const said = this.messages.filter((message) => message.content).map(({ role, content }) => ({ role, content }));
    return system.trim() ? [{ role: "system", content: system }, ...said] : said;
  }
}

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE)) ?? [];
    return found.filter((message) => ["user", "assistant"].includes(message.role) && typeof message.content === "string");
  } catch {
    return [];
  }
}
