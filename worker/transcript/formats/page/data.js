// -- the transcript: paragraphs, segments and words --------------------------------------------------------------------
//
// The files of this folder are joined into one script in the order of `html.py`. All times in the script are seconds.

const byId = (id) => document.getElementById(id);
const root = document.documentElement;
const text = byId("text");
const about = JSON.parse(byId("about").textContent);
const REVIEWED = 1;
const EDITED = 2;
const COLOURS = 6;
const UNSURE = 70; // below this confidence (percent), a word is uncertain

// Speakers by number. `loaded`: the name in the transcript when the page was opened; null for a speaker added since.
const voices = about.speakers.map((name) => ({ name, loaded: name }));
const paras = [];
const segs = [];
const paraOf = new WeakMap();

const readSegment = (values, para, node) => {
  const [index, start, end, flags, texts, starts, lengths, sures, original] = values;
  const seg = { index, start: start / 1000, end: end / 1000, flags, voice: para.voice, para, node, original };
  seg.words = texts.map((string, k) => newWord(seg, string.trimStart(), string.startsWith(" "),
    (start + starts[k]) / 1000, (start + starts[k] + lengths[k]) / 1000, sures[k]));
  seg.loaded = { words: seg.words, voice: seg.voice, flags };
  return seg;
};

// A word with the punctuation next to it. `sure`: confidence in percent, or -1. `node`: its element near the visible
// part of the page, otherwise null.
function newWord(seg, string, spaced, start, end, sure) {
  return { seg, text: string, spaced, start, end, sure, fixed: false, lit: false, hit: false, chosen: false, node: null };
}

for (const el of text.querySelectorAll(":scope > .seg")) {
  const block = el.querySelector("script");
  const para = { el, body: el.querySelector(".body"), p: el.querySelector("p"), voice: Number(el.dataset.v), segs: [], live: false };
  const nodes = para.p.querySelectorAll(":scope > .s");
  JSON.parse(block.textContent).forEach((values, k) => para.segs.push(readSegment(values, para, nodes[k])));
  block.remove();
  para.start = para.segs[0].start;
  para.number = paras.length;
  paras.push(para);
  segs.push(...para.segs);
  paraOf.set(el, para);
}
const segByIndex = new Map(segs.map((seg) => [seg.index, seg]));

const textOf = (words) => words.map((word, k) => (word.spaced && k ? " " : "") + word.text).join("");
const isReviewed = (seg) => (seg.flags & REVIEWED) > 0;
const isUnsure = (word) => word.sure >= 0 && word.sure < UNSURE && !word.fixed && !isReviewed(word.seg);
const WIDE = /[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]|[\ud840-\ud8bf][\udc00-\udfff]/;
const isWide = (char) => WIDE.test(char);
// Characters such as 𨋢 consist of two code units.
const startsWide = (string) => isWide(String.fromCodePoint(string.codePointAt(0) ?? 0));
const endsWide = (string) => isWide([...string.slice(-2)].pop() ?? "");

// The text of a paragraph. Segments are joined by a space, except next to Chinese characters.
const paraText = (para) => {
  let out = "";
  for (const seg of para.segs) {
    const next = textOf(seg.words);
    if (!next) continue;
    out += (out && !endsWide(out) && !startsWide(next) ? " " : "") + next;
  }
  return out;
};

const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return (hours ? `${hours}:${two(Math.floor(whole / 60) % 60)}` : Math.floor(whole / 60)) + ":" + two(whole % 60);
};

// Index of the last item that starts at `time` or earlier, or -1. `list` is in order of `start`.
const lastBefore = (list, time) => {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

// Lists of words in the order of the page and, for each speaker, in order of time. Corrections make them invalid.
const lists = { words: null, voices: null };
const forgetLists = () => { lists.words = lists.voices = null; };
const allWords = () => (lists.words ||= segs.flatMap((seg) => seg.words));
const wordsByVoice = () => {
  if (lists.voices) return lists.voices;
  const found = new Map();
  for (const word of allWords()) {
    if (!found.has(word.seg.voice)) found.set(word.seg.voice, []);
    found.get(word.seg.voice).push(word);
  }
  for (const list of found.values()) list.sort((a, b) => a.start - b.start);
  lists.voices = [...found.values()];
  return lists.voices;
};

// Reads or stores a value in the browser. Browsers may deny storage to a page from disk; then the result is null.
const stored = (name, value) => {
  try {
    if (value === undefined) return localStorage.getItem(name);
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
    return value;
  } catch {
    return null;
  }
};

let toldTimer = 0;
// Shows a short message, which a screen reader reads aloud.
const tell = (message) => {
  const box = byId("told");
  box.textContent = message;
  box.hidden = false;
  clearTimeout(toldTimer);
  toldTimer = setTimeout(() => { box.hidden = true; }, 4000);
};
