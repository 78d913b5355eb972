// KaTeX's fonts. They are fetched once the first formula is drawn, and handed to the browser as bytes: the page's policy
// lets no style sheet load a font.

const FONTS = {
  "AMS-Regular": {}, "Caligraphic-Regular": {}, "Main-Bold": { weight: "bold" }, "Main-Italic": { style: "italic" }, "Main-Regular": {},
  "Math-Italic": { style: "italic" }, "Size1-Regular": {}, "Size2-Regular": {}, "Size3-Regular": {}, "Size4-Regular": {},
};
let isAsked = false;

export async function loadMathFonts() {
  if (isAsked) return;
  isAsked = true;
  for (const [name, descriptors] of Object.entries(FONTS)) load(name, descriptors).catch(() => { isAsked = false; }); // the next formula asks again
}

async function load(name, descriptors) {
  const reply = await fetch(`/static/KaTeX_${name}.woff2`);
  const font = new FontFace(`KaTeX_${name.split("-")[0]}`, await reply.arrayBuffer(), descriptors);
  document.fonts.add(await font.load());
}
