// The page: what happens when somebody writes, stops, asks again, or begins anew.

import { ApiFailure, listModels, streamChat } from "./api.js";
import { Conversation } from "./conversation.js";
import { inWords } from "./failures.js";
import { Settings } from "./settings.js";
import { Speed } from "./speed.js";
import { MessageView, clearFailures, isFollowing, onlyLastCanBeRegenerated, scrollToEnd, showFailure } from "./view.js";

const one = (id) => document.getElementById(id);
const conversation = new Conversation();
const settings = new Settings();
const THEMES = { "": ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };
let running = null; // the AbortController of the reply that comes

function send(text) {
  if (running || !text.trim()) return;
  one("prompt").value = "";
  fitPrompt();
  one("welcome").hidden = true;
  new MessageView(conversation.add("user", text.trim()));
  reply();
}

/** Asks for the next message and shows it as it comes. */
async function reply() {
  clearFailures();
  onlyLastCanBeRegenerated();
  const asked = { messages: conversation.asked(settings.system), ...settings.sampling() };
  if (settings.model) asked.model = settings.model;
  const view = new MessageView(conversation.add("assistant", ""));
  const speed = new Speed();
  begin(view);
  try {
    const [onText, onThought] = ["content", "thoughts"].map((part) => (text) => grow(view, speed, part, text));
    const ended = await streamChat(asked, { key: settings.key, signal: running.signal, onText, onThought });
    end(view, speed, ended.usage?.completion_tokens, ended.reason === "length" ? "cut at the longest reply" : "");
  } catch (error) {
    if (error.name === "AbortError") end(view, speed, undefined, "stopped");
    else fail(view, error);
  } finally {
    finish();
  }
}

function begin(view) {
  running = new AbortController();
  setRunning(true);
  view.waiting = true;
  say("The model is replying.");
  scrollToEnd();
}

/** Draws at most once a frame: a token more costs a look at the whole reply. */
function grow(view, speed, part, text) {
  view.message[part] += text;
  speed.count();
  if (view.frame) return;
  view.frame = requestAnimationFrame(() => {
    view.frame = 0;
    const follow = isFollowing();
    view.waiting = false;
    view.show();
    if (running) one("speed").textContent = speed.words();
    if (follow) scrollToEnd();
  });
}

function end(view, speed, tokens, why) {
  const count = tokens === undefined ? "" : `${tokens} ${tokens === 1 ? "token" : "tokens"}`;
  view.message.note = [count, speed.words(tokens), why].filter(Boolean).join(" · ");
  const follow = isFollowing();
  view.show();
  view.finish(again);
  if (follow) scrollToEnd();
  say(why === "stopped" ? "Stopped." : `Reply complete. ${view.text.innerText}`);
}

function fail(view, error) {
  const failure = error instanceof ApiFailure ? error : new ApiFailure(500, error.message);
  view.show();
  if (!view.message.content) {
    conversation.dropReply();
    view.root.remove();
  }
  say("");
  showFailure(inWords(failure), failure.message, again);
  if (failure.status === 401) askForKey();
  scrollToEnd();
}

function finish() {
  running = null;
  setRunning(false);
  for (const each of document.querySelectorAll(".waiting")) each.classList.remove("waiting");
  onlyLastCanBeRegenerated();
  conversation.save();
}

/** Another reply to the same message. */
function again() {
  if (running) return;
  if (conversation.last?.role === "assistant") {
    conversation.dropReply();
    [...document.querySelectorAll(".message")].at(-1).remove();
  }
  one("prompt").focus();
  reply();
}

function setRunning(value) {
  const hadFocus = [one("send"), one("stop")].includes(document.activeElement);
  one("send").hidden = value;
  one("stop").hidden = !value;
  // A screen reader hears of the reply once, when it is complete, and not of each of its tokens.
  one("log").setAttribute("aria-live", value ? "off" : "polite");
  one("log").setAttribute("aria-busy", String(value));
  one("speed").textContent = "";
  if (hadFocus) one("prompt").focus();
}

function say(words) {
  one("status").textContent = words;
}

function beginAnew() {
  running?.abort();
  conversation.clear();
  one("messages").replaceChildren();
  one("welcome").hidden = false;
  say("New conversation.");
  one("prompt").focus();
}

function fitPrompt() {
  const prompt = one("prompt");
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function askForKey() {
  const words = settings.key ? "The server did not take that key: enter another" : "This server asks for an API key";
  one("key-label").textContent = words;
  one("key-form").hidden = false;
  say(words);
  one("key").focus();
}

async function loadModels() {
  try {
    settings.showModels(await listModels(settings.key));
    one("key-form").hidden = true;
    return true;
  } catch (failure) {
    if (failure.status === 401) askForKey();
    else if (!document.querySelector(".failure")) showFailure(inWords(failure), failure.message, () => { clearFailures(); loadModels(); });
    return false;
  }
}

function setTheme(theme) {
  const [sign, name] = THEMES[theme];
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("lutmac.theme", theme);
  one("theme").textContent = sign;
  one("theme").setAttribute("aria-label", `Theme: ${name}`);
  one("theme").title = `Theme: ${name}`;
}

function showKept() {
  one("welcome").hidden = conversation.messages.length > 0;
  for (const message of conversation.messages) {
    const view = new MessageView(message);
    if (message.role === "assistant") view.finish(again);
  }
  onlyLastCanBeRegenerated();
  if (conversation.last?.role === "user") showFailure("This message has no reply yet.", "", again, { isWrong: false });
  scrollToEnd();
}

function listen() {
  one("composer").addEventListener("submit", (event) => { event.preventDefault(); send(one("prompt").value); });
  one("prompt").addEventListener("input", fitPrompt);
  one("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(one("prompt").value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !settings.isOpen) running?.abort();
  });
  one("stop").addEventListener("click", () => running?.abort());
  one("new").addEventListener("click", beginAnew);
  one("suggestions").addEventListener("click", (event) => { if (event.target.tagName === "BUTTON") send(event.target.textContent); });
  one("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length]);
  });
  one("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    settings.key = one("key").value.trim();
    one("key").value = "";
    if (!(await loadModels())) return;
    one("prompt").focus();
    if (conversation.last?.role === "user") again();
  });
  addEventListener("pagehide", () => conversation.save());
}

setTheme(document.documentElement.dataset.theme ?? "");
listen();
showKept();
loadModels();
one("prompt").focus();
