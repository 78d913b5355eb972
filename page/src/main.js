// The page: which conversation is shown, and what happens when somebody writes, stops, asks again, or chooses another.

import { listModels } from "./api.js";
import { Composer } from "./composer.js";
import { newMessage } from "./conversation.js";
import { one } from "./dom.js";
import { dropOldDrafts } from "./drafts.js";
import { inWords } from "./failures.js";
import { Gauge } from "./gauge.js";
import { newId } from "./identity.js";
import { Library } from "./library.js";
import { Loading } from "./loading.js";
import { LogView, isFollowing, scrollToEnd } from "./log_view.js";
import { clearNotice, notice } from "./notices.js";
import { Replies } from "./replies.js";
import { Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { kept } from "./store.js";
import { listenForTheme } from "./themes.js";
import { exportRecords, importRecords } from "./transfer.js";

const library = new Library();
const gauge = new Gauge();
const loading = new Loading();
const settings = new Settings(() => showGauge());
const composer = new Composer(send, showGauge);
const sidebar = new Sidebar({ rename, exportOne, remove: removeConversation, exportAll, importFile });
const log = new LogView({ edited, again, proceed, branch, remove: removeMessage, choose, retry });
const ask = () => ({ ...settings.sampling(), ...(settings.model ? { model: settings.model } : {}), system: settings.system, key: settings.key });
const replies = new Replies(library, ask, { began, grew, ended, failed });
let shown = null; // the conversation
let frame = 0;

// What is shown

/** Shows the conversation that the address names, else the newest. */
function openAddressed() {
  const id = location.hash.slice(1) || library.list()[0]?.id || newId();
  open(replies.all.find(({ conversation }) => conversation.id === id)?.conversation ?? library.open(id));
}

function open(conversation) {
  shown = conversation;
  if (location.hash !== `#${shown.id}`) history.pushState(null, "", `#${shown.id}`);
  composer.open(shown.id);
  show();
  showRunning();
  showGauge();
  scrollToEnd();
}

function show() {
  log.show(shown, replies.of(shown));
  showList();
}

function showList() {
  sidebar.show(library.list(), shown.id, replies.all.map(({ conversation }) => conversation.id));
  one("not-kept").hidden = kept.isKeeping;
}

function showGauge() {
  gauge.show(shown.asked("", shown.leaf), composer, { context: settings.context, model: settings.model, isLoaded: settings.isLoaded, system: settings.system, key: settings.key });
}

/** A change of the conversation that is shown: it is drawn and kept. */
function changed() {
  library.save(shown);
  show();
  showGauge();
}

function isShown(reply) {
  return reply.conversation === shown;
}

function showRunning() {
  const isRunning = replies.of(shown) !== null;
  const hadFocus = [one("send"), one("stop")].includes(document.activeElement);
  one("send").hidden = isRunning;
  one("stop").hidden = !isRunning;
  // A screen reader hears of the reply once, when it is complete, and not of each of its tokens.
  one("log").setAttribute("aria-live", isRunning ? "off" : "polite");
  one("log").setAttribute("aria-busy", String(isRunning));
  one("speed").textContent = "";
  if (hadFocus) one("prompt").focus();
}

function say(words) {
  one("status").textContent = words;
}

// What a person does with messages

/** Returns whether the message was taken. One that the server refused, or that has no reply, is a variant then, and not read again. */
function send(text, files) {
  if (replies.of(shown)) return false;
  clearNotice();
  const parent = shown.last?.role === "user" ? shown.last.parent : shown.leaf;
  answer(shown.add(newMessage("user", text, parent, files)));
  return true;
}

function answer(message, replaces = null) {
  library.save(shown);
  replies.answer(shown, message, replaces);
  scrollToEnd();
}

/** Another reply to the same message. */
function again(message) {
  if (replies.of(shown)) return;
  one("prompt").focus();
  shown.leaf = message.id;
  answer(shown.messages.get(message.parent), message);
}

function retry(last) {
  if (last.role === "assistant") again(last);
  else answer(last);
}

function proceed(message) {
  one("prompt").focus();
  replies.proceed(shown, message);
}

/** A message of the person's is asked anew, as a variant; a reply is changed in its place. */
function edited(message, text) {
  if (message.role === "user") return answer(shown.add(newMessage("user", text, message.parent, message.files)));
  const before = { ...message };
  const write = (values) => { Object.assign(message, values, { revision: message.revision + 1 }); changed(); };
  write({ content: text, note: "edited", failure: null });
  notice("The reply was changed.", () => write({ content: before.content, note: before.note, failure: before.failure }));
}

function branch(message) {
  const from = shown;
  const made = from.branch(message.id);
  library.save(made);
  open(made);
  notice("This is a new conversation, a branch.", () => { library.remove(made.id); open(from); });
}

function removeMessage(message) {
  const conversation = shown;
  const removed = conversation.remove(message);
  changed();
  one("prompt").focus();
  const words = removed.length === 1 ? "The message was deleted." : `${removed.length} messages were deleted.`;
  notice(words, () => { conversation.restore(removed); library.save(conversation); open(conversation); });
}

function choose(id) {
  shown.choose(id);
  changed();
}

// What replies do

function began(reply) {
  if (!isShown(reply)) return;
  show();
  showRunning();
  say("The model is replying.");
  scrollToEnd();
  if (settings.isOneOfSeveral) loading.watch(settings.model, settings.key);
}

/** Draws at most once a frame. */
function grew() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const reply = replies.of(shown);
    if (!reply) return;
    loading.stop();
    const follow = isFollowing();
    if (reply.isDrawn) log.grow(reply);
    else show();
    reply.isDrawn = true;
    one("speed").textContent = reply.speed.words();
    if (follow) scrollToEnd();
  });
}

function ended(reply, reason) {
  afterReply();
  if (!isShown(reply)) return showList();
  const follow = isFollowing();
  show();
  showRunning();
  showGauge();
  if (follow) scrollToEnd();
  say(reason === "stopped" ? "Stopped." : `Reply complete. ${log.view(reply.message)?.text.innerText ?? ""}`);
}

function failed(reply, failure) {
  afterReply();
  if (failure.status === 401) askForKey();
  if (!isShown(reply)) return showList();
  show();
  if (shown.last?.failure === null) notice(inWords(failure)); // what it belongs to is not the last message
  showRunning();
  showGauge();
  say("");
  scrollToEnd();
}

/** Another model may be loaded now. */
function afterReply() {
  if (!settings.isOneOfSeveral) return;
  loading.stop();
  loadModels();
}

// Conversations

function beginAnew() {
  const from = shown;
  sidebar.closeIfOver();
  one("prompt").focus();
  say("New conversation.");
  if (!from.messages.size) return;
  open(library.open(newId()));
  notice("A new conversation. The one before is in the list.", () => open(from));
}

function rename(id, title) {
  library.rename(id, title);
  if (id === shown.id && !replies.of(shown)) shown = library.open(id);
  showList();
}

function removeConversation(id) {
  const wasShown = id === shown.id;
  replies.drop(id);
  const record = library.record(id);
  library.remove(id);
  if (wasShown) open(library.open(newId()));
  else showList();
  notice("The conversation was deleted.", () => { library.put(record); wasShown ? open(library.open(id)) : showList(); });
}

function exportOne(id) {
  const record = library.record(id);
  exportRecords([record], record.title);
}

function exportAll() {
  exportRecords(library.list().map(({ id }) => library.record(id)), "lutmac conversations");
}

async function importFile(file) {
  try {
    const records = importRecords(await file.text());
    for (const record of records) {
      const conversation = library.open(record.id);
      conversation.merge({ ...record, gone: [] });
      conversation.title ||= record.title;
      library.save(conversation);
    }
    open(library.open(records[0].id));
    notice(records.length === 1 ? "1 conversation was imported." : `${records.length} conversations were imported.`);
  } catch (error) {
    notice(`${file.name} cannot be imported: it ${error.message}`);
  }
}

/** Another tab has written. What it did to the conversation that is shown is shown, unless a reply comes here: that is merged when it is kept. */
function writtenElsewhere(id) {
  if (id === shown.id && !replies.of(shown)) {
    const record = library.record(id);
    const follow = isFollowing();
    if (record) {
      const { leaf } = shown;
      shown = library.open(id);
      if (!follow && shown.messages.has(leaf)) shown.leaf = leaf;
    }
    show();
    if (follow) scrollToEnd();
  } else showList();
}

// The server

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
    showGauge();
    return true;
  } catch (failure) {
    if (failure.status === 401) askForKey();
    else notice(inWords(failure));
    return false;
  }
}

async function useKey() {
  settings.key = one("key").value.trim();
  one("key").value = "";
  if (!(await loadModels())) return;
  one("prompt").focus();
  if (shown.last?.role === "user" && !replies.of(shown)) answer(shown.last);
}

function listen() {
  one("open-settings").addEventListener("click", () => { if (settings.isOneOfSeveral) loadModels(); });
  one("key-form").addEventListener("submit", (event) => { event.preventDefault(); useKey(); });
  one("stop").addEventListener("click", () => replies.stop(shown));
  one("new").addEventListener("click", beginAnew);
  one("suggestions").addEventListener("click", (event) => { if (event.target.tagName === "BUTTON") send(event.target.textContent, []); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !settings.isOpen && !event.defaultPrevented) replies.stop(shown);
  });
  addEventListener("hashchange", () => { if (location.hash.slice(1) !== shown.id) openAddressed(); });
  addEventListener("pagehide", () => { composer.store(); for (const reply of replies.all) replies.save(reply); });
  library.listen(writtenElsewhere);
}

listenForTheme();
dropOldDrafts();
listen();
openAddressed();
loadModels();
one("prompt").focus();
