// -- correcting words --------------------------------------------------------------------------------------------------

let editing = false;
let fixing = null; // the word that is being corrected, and its input
let cursor = null; // the last word that was chosen with the keyboard or corrected

const setEditing = (on) => {
  stopFixing(true);
  editing = on;
  document.body.classList.toggle("editing", on);
  byId("edit").setAttribute("aria-pressed", String(on));
  for (const para of paras) if (para.live) dress(para);
  showChanges();
};

// Splits a corrected text into words. They share the time of the word that they replace, by their lengths.
const wordsFor = (word, string) => {
  const parts = string.split(/\s+/).filter(Boolean);
  const letters = parts.reduce((sum, part) => sum + part.length, 0);
  let done = 0;
  return parts.map((part, k) => {
    const start = word.start + ((word.end - word.start) * done) / letters;
    done += part.length;
    const end = word.start + ((word.end - word.start) * done) / letters;
    const round = (time) => Math.round(time * 1000) / 1000;
    return { ...newWord(word.seg, part, k ? true : word.spaced, round(start), round(end), -1), fixed: true };
  });
};

const resize = (input) => {
  const width = [...input.value].reduce((sum, char) => sum + (isWide(char) ? 2 : 1), 0);
  input.size = Math.max(2, Math.min(60, width + 1));
};

// Opens the input for a word.
const fix = (word) => {
  if (fixing?.word === word) return;
  stopFixing(true);
  // The correction of the previous word may have replaced all words of its segment.
  const { para } = word.seg;
  wake(para);
  if (!word.node) return;
  following = false;
  if (ready && audio.paused) {
    audio.currentTime = word.start;
    tick();
  }
  const input = document.createElement("input");
  input.className = "fix";
  input.value = word.text;
  input.autocomplete = "off";
  input.spellcheck = true;
  input.dir = "auto";
  input.lang = para.p.lang || text.lang;
  input.setAttribute("aria-label", `Correct “${word.text}” at ${clock(word.start)}`);
  resize(input);
  input.addEventListener("input", () => resize(input));
  input.addEventListener("keydown", fixKeys);
  input.addEventListener("blur", () => { if (fixing?.input === input) stopFixing(true); });
  tip.hidden = true;
  fixing = { word, input };
  cursor = word;
  word.node.replaceChildren(input);
  const box = input.getBoundingClientRect();
  if (box.top < 90 || box.bottom > innerHeight - document.querySelector(".player").offsetHeight - 20) show(word);
  input.focus({ preventScroll: true });
  input.select();
};

// Closes the input. `keep`: whether to use its text. Returns the word to continue from.
function stopFixing(keep, accept = false) {
  if (!fixing) return cursor;
  const { word, input } = fixing;
  fixing = null;
  const { seg } = word;
  const string = input.value.trim().replace(/\s+/g, " ");
  const changed = keep && (string !== word.text || (accept && isUnsure(word)));
  if (!changed) {
    fill(seg);
    return word;
  }
  const at = seg.words.indexOf(word);
  const fresh = wordsFor(word, string);
  const words = [...seg.words.slice(0, at), ...fresh, ...seg.words.slice(at + 1)];
  change([[seg, { words, flags: seg.flags | EDITED }]]);
  cursor = fresh[fresh.length - 1] || words[Math.max(0, at - 1)] || null;
  return cursor;
}

const fixKeys = (event) => {
  const { key } = event;
  event.stopPropagation();
  if (event.isComposing) return; // an input method for Chinese or Japanese uses these keys itself
  if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    toggle();
  } else if (key === "Enter") {
    event.preventDefault();
    stopFixing(true, true);
    document.activeElement.blur(); // the next key, such as space, belongs to the page
  } else if (key === "Escape") {
    event.preventDefault();
    stopFixing(false);
    document.activeElement.blur(); // the next key, such as space, belongs to the page
  } else if (key === "Tab") {
    event.preventDefault();
    const words = [stopFixing(true, !event.shiftKey)].filter(Boolean);
    const next = words.length ? allWords()[allWords().indexOf(words[0]) + (event.shiftKey ? -1 : 1)] : null;
    if (next) fix(next);
  } else if (PLAYER_KEYS[key]) {
    event.preventDefault();
    PLAYER_KEYS[key]();
  } else if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "s") {
    event.preventDefault();
    stopFixing(true);
    save();
  } else if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "k") {
    event.preventDefault();
    stopFixing(true);
    focusSearch();
  }
};

// -- uncertain words and the review ------------------------------------------------------------------------------------

// Index of the word from which to search: the one being corrected, the last chosen one, or the one being played.
const place = () => {
  const words = allWords();
  const chosenAt = cursor ? words.indexOf(cursor) : -1;
  if (chosenAt >= 0 && (editing || audio.paused)) return chosenAt;
  return lastBefore(words, audio.currentTime);
};

const nextUnsure = (by) => {
  stopFixing(true);
  const words = allWords();
  for (let at = place() + by, left = words.length; left > 0 && at >= 0 && at < words.length; at += by, left -= 1) {
    if (!isUnsure(words[at])) continue;
    if (cursor) { cursor.chosen = false; mark(cursor); }
    cursor = words[at];
    if (editing) return fix(cursor);
    if (ready) go(cursor.start);
    following = false;
    cursor.chosen = true;
    show(cursor);
    mark(cursor);
    return undefined;
  }
  return tell(by > 0 ? "No further uncertain words" : "No earlier uncertain words");
};

const toggleReviewed = (para) => {
  const done = para.segs.every(isReviewed);
  change(para.segs.map((seg) => [seg, { flags: done ? seg.flags & ~REVIEWED : seg.flags | REVIEWED }]));
};
const paraHere = () => {
  const words = allWords();
  return words.length ? words[Math.max(0, place())].seg.para : null;
};
const reviewHere = () => {
  const para = paraHere();
  if (para) toggleReviewed(para);
};

const showChanges = () => {
  const count = countPending();
  const done = paras.filter((para) => para.segs.every(isReviewed)).length;
  const parts = [];
  if (count) parts.push(`${count} unsaved ${count === 1 ? "change" : "changes"}`);
  if (done || editing) parts.push(`${done} of ${paras.length} reviewed`);
  byId("changes").textContent = parts.join(" · ");
  byId("status").hidden = !editing && !count && !done && !saved.length && !edits.done.length;
  byId("save").hidden = !count && !saved.length;
  byId("undo").disabled = !edits.done.length;
  byId("redo").disabled = !edits.undone.length;
};

const startEditor = () => {
  byId("edit").addEventListener("click", () => setEditing(!editing));
  byId("undo").addEventListener("click", undo);
  byId("redo").addEventListener("click", redo);
  byId("unsure").addEventListener("click", () => nextUnsure(1));
};
