// Bundles the page: `make page` calls it once npm has installed what package-lock.json names. Writes to a folder (the first
// argument, else the package's own), and to bundle.json what it was made of. The same sources give the same bytes.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "../src/lutmac/server/static");
const AS_THEY_ARE = ["index.html", "theme.js"];
const SOURCES = [...AS_THEY_ARE, "build.js", "package.json", "package-lock.json"];

const FONTS = join(here, "node_modules/katex/dist/fonts");

// The page's policy lets no style sheet load a font: src/math_fonts.js does.
const withoutFonts = {
  name: "without fonts",
  setup: (bundle) => bundle.onLoad({ filter: /katex\.css$/ }, ({ path }) => (
    { contents: readFileSync(path, "utf8").replace(/@font-face\s*{[^}]*}/g, ""), loader: "css" }
  )),
};

async function bundle() {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: here, entryPoints: { page: "src/main.js", style: "styles/page.css" }, outdir: target, bundle: true, minify: true,
    format: "esm", target: "es2022", charset: "utf8", legalComments: "none", metafile: true, plugins: [withoutFonts],
  });
  for (const name of AS_THEY_ARE) copyFileSync(join(here, name), join(target, name));
  const loaded = readFileSync(join(here, "src/math_fonts.js"), "utf8").match(/\w+-(?:Regular|Bold|Italic)/g);
  for (const name of loaded) copyFileSync(join(FONTS, `KaTeX_${name}.woff2`), join(target, `KaTeX_${name}.woff2`));
  writeFileSync(join(target, "LICENSES.txt"), licences(Object.keys(metafile.inputs)));
}

/** The licences of the packages that these files come from. */
function licences(files) {
  const packages = new Set(files.map((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean));
  const texts = [...packages].sort().map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} has no file with its licence`);
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").replace(/\r/g, "").trim()}\n`;
  });
  return `page.js, style.css and the fonts are of these packages.\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`;
}

/** The SHA-256 of each file, by its path below a folder. */
function hashes(folder, names) {
  const hash = (name) => createHash("sha256").update(readFileSync(join(folder, name))).digest("hex");
  return Object.fromEntries([...names].sort().map((name) => [name, hash(name)]));
}

function below(folder) {
  return readdirSync(join(here, folder)).map((name) => `${folder}/${name}`);
}

await bundle();
const made = { sources: hashes(here, [...SOURCES, ...below("src"), ...below("styles")]), bundle: hashes(target, readdirSync(target)) };
if (!process.argv[2]) writeFileSync(join(here, "bundle.json"), `${JSON.stringify(made, null, 1)}\n`);
