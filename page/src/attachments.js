// Text files that go with a message.

const LARGEST = 2 ** 20; // bytes; a model with a long context reads about a fifth of it

/** A file's name and text. Throws an Error that says why it cannot be taken. */
export async function readFile(file) {
  if (file.size > LARGEST) throw new Error(`${file.name} is ${(file.size / 2 ** 20).toFixed(1)} MiB: at most 1 MiB can be attached`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    text = "\0";
  }
  if (text.includes("\0")) throw new Error(`${file.name} is no text file in UTF-8`);
  return { name: file.name, text: text.replace(/\r\n?/g, "\n") };
}

/** A message's text as the model reads it: its files in fences, then what the person wrote. */
export function withFiles({ content, files }) {
  return [...files.map(fenced), content].filter(Boolean).join("\n\n");
}

function fenced({ name, text }) {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${name}:\n\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}
