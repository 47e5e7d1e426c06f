// -- search ------------------------------------------------------------------------------------------------------------

const fold = (char) => {
  const folded = char.normalize("NFKC").toLowerCase();
  return folded.length === char.length ? folded : char;
};
// Returns the text to compare, and for each of its characters the position in `string`. Spaces next to Chinese
// characters only affect the layout, so the search ignores them.
const folded = (string) => {
  if (/^[\x20-\x7e]*$/.test(string) && !string.includes("  ")) return { out: string.toLowerCase(), places: null };
  let out = "";
  const places = [];
  for (let at = 0; at < string.length; at++) {
    const char = string[at];
    if (/\s/.test(char)) {
      if (!out || out.endsWith(" ") || endsWide(out) || startsWide(string.slice(at + 1, at + 3))) continue;
      out += " ";
    } else out += fold(char);
    places.push(at);
  }
  return { out, places };
};

// Text of a paragraph for the search, with the words and the position at which each begins. Corrections delete it.
const indexOf = (para) => {
  if (para.index) return para.index;
  const words = [];
  const begins = [];
  let string = "";
  for (const seg of para.segs) {
    seg.words.forEach((word, k) => {
      const gap = k ? word.spaced : string && !endsWide(string) && !startsWide(word.text);
      string += gap ? " " : "";
      begins.push(string.length);
      words.push(word);
      string += word.text;
    });
  }
  para.index = { ...folded(string), words, begins };
  return para.index;
};

// Prepares the search in idle moments, so that the first search of a long transcript is quick.
const prepareSearch = (from = 0) => {
  const idle = window.requestIdleCallback || ((run) => setTimeout(() => run({ timeRemaining: () => 8 }), 50));
  idle((deadline) => {
    let at = from;
    while (at < paras.length && deadline.timeRemaining() > 2) indexOf(paras[at++]);
    if (at < paras.length) prepareSearch(at);
  });
};

// The words that a match covers.
const wordsBetween = ({ words, begins }, begin, end) => {
  let low = 0;
  let high = begins.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (begins[middle] <= begin) low = middle + 1;
    else high = middle;
  }
  const first = Math.max(0, low - 1);
  const found = [];
  for (let k = first; k < words.length && begins[k] < end; k++) {
    if (begins[k] + words[k].text.length > begin) found.push(words[k]);
  }
  return found;
};

let hits = []; // the matches, each a list of words
let chosen = -1;
const MAX_HITS = 5000;
const find = byId("find");

const clearHits = () => {
  for (const hit of hits) for (const word of hit) { word.hit = word.chosen = false; mark(word); }
  hits = [];
  chosen = -1;
};
const search = (jump = true) => {
  clearHits();
  const wanted = folded(find.value.trim()).out;
  if (wanted) {
    for (const para of paras) {
      const index = indexOf(para);
      for (let at = index.out.indexOf(wanted); at >= 0 && hits.length < MAX_HITS; at = index.out.indexOf(wanted, at + wanted.length)) {
        const begin = index.places ? index.places[at] : at;
        const last = at + wanted.length - 1;
        const words = wordsBetween(index, begin, (index.places ? index.places[last] : last) + 1);
        if (words.length) hits.push(words);
      }
    }
    for (const hit of hits) for (const word of hit) { word.hit = true; mark(word); }
    if (jump) choose(Math.max(0, hits.findIndex((hit) => hit[0].seg.para.el.getBoundingClientRect().bottom > 60)));
  }
  showCount();
  paint();
};
const showCount = () => {
  const more = hits.length === MAX_HITS ? "+" : "";
  byId("found").textContent = find.value.trim() ? (hits.length ? `${Math.max(0, chosen) + 1} of ${hits.length}${more}` : "not found") : "";
};
const choose = (at) => {
  if (!hits.length) return;
  for (const word of hits[chosen] || []) { word.chosen = false; mark(word); }
  chosen = (at + hits.length) % hits.length;
  for (const word of hits[chosen]) { word.chosen = true; mark(word); }
  following = false;
  show(hits[chosen][0]);
  showCount();
};

// A time in the search field, such as `1:02:30`, in seconds, or null.
const timeIn = (string) => {
  const parts = /^(?:(\d+):)?(\d+):(\d{2})$/.exec(string.trim());
  return parts ? Number(parts[1] || 0) * 3600 + Number(parts[2]) * 60 + Number(parts[3]) : null;
};
const jumpTo = (time) => {
  if (ready) go(time);
  const para = paras[Math.max(0, lastBefore(paras, time + 0.05))];
  following = false;
  if (para) showPara(para);
};

const focusSearch = () => { find.focus(); find.select(); };

const startSearch = () => {
  let soon = 0;
  find.addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(search, 80);
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(soon);
      const time = timeIn(find.value);
      if (time !== null && !hits.length) jumpTo(time);
      else if (!hits.length) search();
      else choose(chosen + (event.shiftKey ? -1 : 1));
    } else if (event.key === "Escape") {
      find.value = "";
      search();
      find.blur();
    }
    event.stopPropagation();
  });
  byId("before").addEventListener("click", () => choose(chosen - 1));
  byId("after").addEventListener("click", () => choose(chosen + 1));
};
