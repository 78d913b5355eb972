// Signs on buttons, drawn here: no font has them all.

const NAMESPACE = "http://www.w3.org/2000/svg";
const PATHS = {
  copy: "M8 8V5a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1h-3M5 8h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1z",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  proceed: "M5 5v14l9-7zM18 5v14",
  branch: "M6 4v16M6 14c6 0 10-2 10-7M16 4l-3 3M16 4l3 3",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  attach: "M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.4 3.4 0 0 1 4.8 4.8L9.4 17.3a1.7 1.7 0 0 1-2.4-2.4L14.500 7.500",
  list: "M4 6h16M4 12h16M4 18h16",
  save: "M12 4v11M7 10l5 5 5-5M5 20h14",
  close: "M6 6l12 12M18 6L6 18",
};

export function icon(name) {
  const sign = document.createElementNS(NAMESPACE, "svg");
  const line = document.createElementNS(NAMESPACE, "path");
  for (const [attribute, value] of Object.entries({ viewBox: "0 0 24 24", class: "sign", "aria-hidden": "true" })) sign.setAttribute(attribute, value);
  line.setAttribute("d", PATHS[name]);
  sign.append(line);
  return sign;
}
