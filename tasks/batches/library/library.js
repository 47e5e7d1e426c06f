// The library: searches, filters and sorts the transcripts of a folder. The page itself has the list, so that it can be
// read without JavaScript; this script only hides and moves its items.

const byId = (id) => document.getElementById(id);
const list = byId("items");
const nodes = [...list.children];
const items = JSON.parse(byId("data").textContent).map(([name, state, length, confidence, language, review, text], k) => (
  { k, node: nodes[k], name, state, length, confidence, language, review: review > 0, text, folded: null }
));
byId("data").remove();

const WIDE = "[\\u2e80-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff\\uff00-\\uffef\\u{20000}-\\u{3ffff}]";
const BESIDE_WIDE = new RegExp(`(?<=${WIDE})\\s+|\\s+(?=${WIDE})`, "gu");
// Spaces next to Chinese characters only affect the layout, so the search ignores them.
const fold = (string) => {
  if (/^[\x20-\x7e\n]*$/.test(string)) return string.toLowerCase().replace(/\s+/g, " ");
  return string.normalize("NFKC").toLowerCase().replace(BESIDE_WIDE, "").replace(/\s+/g, " ");
};
const foldedText = (item) => (item.folded ??= fold(`${item.name}\n${item.text}`));
const prepare = (from = 0) => {
  const idle = window.requestIdleCallback || ((run) => setTimeout(() => run({ timeRemaining: () => 8 }), 50));
  idle((deadline) => {
    let at = from;
    while (at < items.length && deadline.timeRemaining() > 4) foldedText(items[at++]);
    if (at < items.length) prepare(at);
  });
};

const count = (text, wanted) => {
  let found = 0;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) found += 1;
  return found;
};

// A regular expression that finds the words in the original text, whatever its spaces.
const patternOf = (wanted) => new RegExp([...wanted.replace(/\s+/g, " ")]
  .map((char) => (char === " " ? "\\s+" : char.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")))
  .join("\\s*?"), "iu");
const AROUND = 90;
const snippet = (item, pattern) => {
  const match = pattern.exec(item.text);
  if (!match) return null;
  const from = Math.max(0, match.index - AROUND);
  const end = match.index + match[0].length;
  const node = document.createElement("p");
  node.className = "found";
  node.dir = "auto";
  const mark = document.createElement("mark");
  mark.textContent = match[0];
  node.append(from ? "…" : "", item.text.slice(from, match.index), mark, item.text.slice(end, end + AROUND), end + AROUND < item.text.length ? "…" : "");
  return node;
};

// Removes the extract and the query of an earlier search from an item.
const clear = (item) => {
  item.node.querySelector(".found")?.remove();
  for (const link of item.node.querySelectorAll("a")) link.hash = "";
};
const MAX_SNIPPETS = 300;
let searched = "";

const matches = (item) => {
  const state = byId("state").value;
  const language = byId("language").value;
  if (language && item.language !== language) return false;
  if (!state) return true;
  if (state === "review") return item.review;
  if (state === "failed") return ["failed", "incomplete", "cancelled"].includes(item.state);
  return item.state === state;
};

const apply = () => {
  const query = byId("find").value.trim();
  const wanted = fold(query);
  const pattern = wanted ? patternOf(query) : null;
  let shown = 0;
  let hits = 0;
  let snippets = 0;
  for (const item of items) {
    if (searched) clear(item);
    const found = wanted ? count(foldedText(item), wanted) : 0;
    const visible = matches(item) && (!wanted || found > 0);
    item.node.hidden = !visible;
    if (!visible) continue;
    shown += 1;
    hits += found;
    if (!wanted || snippets >= MAX_SNIPPETS) continue;
    const extract = snippet(item, pattern);
    if (!extract) continue;
    snippets += 1;
    item.node.querySelector(".facts").after(extract);
    const link = item.node.querySelector("h3 a");
    if (link) link.hash = `q=${encodeURIComponent(query)}`; // the page of the transcript searches for it
  }
  searched = wanted;
  byId("failures").hidden = wanted !== "";
  const files = `${shown} of ${items.length} ${items.length === 1 ? "file" : "files"}`;
  byId("count").textContent = wanted ? `${hits} ${hits === 1 ? "match" : "matches"} in ${files}` : files;
};

const ORDERS = {
  "": (a, b) => a.k - b.k,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
  longest: (a, b) => b.length - a.length,
  shortest: (a, b) => a.length - b.length,
  doubtful: (a, b) => (a.confidence < 0 ? 2 : a.confidence) - (b.confidence < 0 ? 2 : b.confidence),
  review: (a, b) => Number(b.review) - Number(a.review),
};
const sort = () => {
  const order = ORDERS[byId("sort").value];
  list.append(...[...items].sort((a, b) => order(a, b) || a.k - b.k).map((item) => item.node));
};

const languages = [...new Set(items.map((item) => item.language).filter(Boolean))].sort();
byId("language").append(...languages.map((language) => new Option(language, language)));
byId("language").closest("label").hidden = languages.length < 2;
let soon = 0;
byId("find").addEventListener("input", () => {
  clearTimeout(soon);
  soon = setTimeout(apply, 100);
});
for (const id of ["state", "language"]) byId(id).addEventListener("change", apply);
byId("sort").addEventListener("change", sort);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  event.preventDefault();
  byId("find").focus();
});
document.querySelector(".tools").hidden = false;
apply();
prepare();
document.body.classList.add("ready");
