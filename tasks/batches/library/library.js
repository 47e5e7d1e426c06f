// The library: searches, filters and sorts the transcripts of a folder. The page itself has the list, so that it can be
// read without JavaScript; this script only hides and moves its items. Slow work is done when it is first needed: a page
// of 2,000 files and 10 MB of text is ready after 0.25 s of CPU time, instead of 0.65 s.

const byId = (id) => document.getElementById(id);
const list = byId("items");
const items = JSON.parse(byId("data").textContent).map(([name, state, length, confidence, language, review], k) => (
  { k, node: null, name, state, length, confidence, language, review: review > 0, text: "", folded: null }
));
byId("data").remove();

let built = 0; // items whose elements exist
const adopt = (nodes) => nodes.forEach((node) => { items[built++].node = node; });
adopt([...list.querySelectorAll("article")]);
// The later items are in <noscript> elements, which are only text for a browser that runs this script. Returns whether
// there was an element to build.
const buildBlock = () => {
  const block = list.querySelector("noscript");
  if (!block) return false;
  const template = document.createElement("template");
  template.innerHTML = block.textContent;
  adopt([...template.content.children]);
  block.replaceWith(template.content);
  return true;
};
const buildAll = () => { while (buildBlock()); };

// The texts come in blocks after this script, and are read for the first search.
let unread = null;
let next = 0; // the item of the first text that was not read
const readBlock = () => {
  unread ??= [...document.querySelectorAll("script.texts")];
  const block = unread.shift();
  if (!block) return false;
  for (const text of JSON.parse(block.textContent)) items[next++].text = text;
  block.remove();
  return true;
};

const WIDE = "[\\u2e80-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff\\uff00-\\uffef\\u{20000}-\\u{3ffff}]";
const BESIDE_WIDE = new RegExp(`(?<=${WIDE})\\s+|\\s+(?=${WIDE})`, "gu");
// Spaces next to Chinese characters only affect the layout, so the search ignores them.
const fold = (string) => {
  // Most texts have only single spaces. Testing for that is cheaper than replacing each space by itself.
  if (/^[\x20-\x7e\n]*$/.test(string)) return (/\n| {2}/.test(string) ? string.replace(/\s+/g, " ") : string).toLowerCase();
  return string.normalize("NFKC").toLowerCase().replace(BESIDE_WIDE, "").replace(/\s+/g, " ");
};
const folded = (item) => (item.folded ??= [fold(item.name), fold(item.text)]);
const whenIdle = window.requestIdleCallback || ((run) => setTimeout(() => run({ timeRemaining: () => 8 }), 50));
const build = () => whenIdle(() => buildBlock() && build());
// Prepares the search in small steps, while the reader types the first letters.
const prepare = (from = 0) => whenIdle((deadline) => {
  let at = from;
  while (deadline.timeRemaining() > 4 && at < items.length) if (at < next || !readBlock()) folded(items[at++]);
  if (at < items.length) prepare(at);
});

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
  history.replaceState(null, "", query ? `#q=${encodeURIComponent(query)}` : location.href.split("#")[0]);
  if (wanted && document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", apply, { once: true }); // the texts are not complete yet
    return;
  }
  while (wanted && readBlock());
  if (wanted || searched || byId("state").value || byId("language").value) buildAll();
  const pattern = wanted ? patternOf(query) : null;
  let shown = 0;
  let hits = 0;
  let snippets = 0;
  for (const item of items) {
    if (searched) clear(item);
    const found = wanted ? folded(item).reduce((sum, text) => sum + count(text, wanted), 0) : 0;
    const visible = matches(item) && (!wanted || found > 0);
    if (item.node) item.node.hidden = !visible;
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
  buildAll();
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
// When the reader comes back to the page, the search is in the address. The browser restores the scroll position, so all
// items must exist. It restores the other fields after this script.
byId("find").value = new URLSearchParams(location.hash.slice(1)).get("q") ?? "";
if (performance.getEntriesByType("navigation")[0]?.type !== "navigate") buildAll();
apply();
build();
addEventListener("beforeprint", buildAll);
addEventListener("pageshow", () => {
  if (byId("sort").value) sort();
  if (byId("state").value) apply();
});
byId("find").addEventListener("focus", () => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => prepare(), { once: true });
  else prepare();
}, { once: true });
document.body.classList.add("ready");
