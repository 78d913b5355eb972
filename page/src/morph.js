// Drawing only what changed: what is selected, scrolled or focused in the rest stays so.

/** Makes the children of `shown` like those of `wanted`, which is used up. Nodes that are alike are kept. */
function morph(shown, wanted) {
  let old = shown.firstChild;
  let next = wanted.firstChild;
  while (next) {
    const after = next.nextSibling;
    if (!old) shown.append(next);
    else {
      const rest = old.nextSibling;
      if (!become(old, next)) shown.replaceChild(next, old);
      old = rest;
    }
    next = after;
  }
  while (old) {
    const rest = old.nextSibling;
    old.remove();
    old = rest;
  }
}

/** Changes a node into another of its kind. Returns false where they are of different kinds. */
export function become(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) return false;
  if (old.nodeType === Node.TEXT_NODE) {
    retype(old, next.data);
    return true;
  }
  if (old.nodeName === "BUTTON") return true; // has a state of its own: the focus, "Copied"
  sameAttributes(old, next);
  morph(old, next);
  return true;
}

/** A text that only grew is added to: a selection in it stays. */
function retype(old, data) {
  if (old.data === data) return;
  if (data.startsWith(old.data)) old.appendData(data.slice(old.length));
  else old.data = data;
}

function sameAttributes(old, next) {
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = value; // as an attribute the policy would refuse it
    else old.setAttribute(name, value);
  }
}
