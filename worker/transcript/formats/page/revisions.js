// -- corrections, undo, and revisions for the JSON of the transcript ---------------------------------------------------

const edits = { done: [], undone: [] }; // commands, the newest last
const MAX_UNDO = 1000;
const saved = []; // revisions that were saved or opened since the page was loaded
let known = new Set(about.known);

const stateOf = (seg) => ({ words: seg.words, voice: seg.voice, flags: seg.flags });

// Shows the current state of segments and names after a change.
const refresh = (changed, names) => {
  forgetLists();
  const touched = new Set(changed.map((seg) => seg.para));
  if (names.length) for (const para of paras) if (names.includes(para.voice)) touched.add(para);
  for (const para of touched) {
    para.index = null;
    para.voice = para.segs[0].voice;
    para.el.dataset.v = para.voice;
  }
  for (const seg of changed) {
    if (seg.para.live) fill(seg);
    else seg.node.textContent = textOf(seg.words);
  }
  for (const para of touched) {
    dress(para);
    if (paras[para.number + 1]) dress(paras[para.number + 1]);
  }
  if (find.value.trim()) search(false);
  repaint();
  showChanges();
};

// A command has the segments with their states before and after, and the speakers with their names before and after.
const perform = (command, forward) => {
  for (const [seg, before, after] of command.segs) Object.assign(seg, forward ? after : before);
  for (const [voice, before, after] of command.names) voices[voice].name = forward ? after : before;
  refresh(command.segs.map(([seg]) => seg), command.names.map(([voice]) => voice));
};

// Makes a change that can be undone. `changes`: pairs of a segment and its new values.
const change = (changes, names = []) => {
  const command = {
    segs: changes.map(([seg, values]) => [seg, stateOf(seg), { ...stateOf(seg), ...values }]),
    names: names.map(([voice, name]) => [voice, voices[voice].name, name]),
  };
  edits.done.push(command);
  if (edits.done.length > MAX_UNDO) edits.done.shift();
  edits.undone = [];
  perform(command, true);
  keepDraft();
};

const undo = () => move(edits.done, edits.undone, false, "Nothing to undo");
const redo = () => move(edits.undone, edits.done, true, "Nothing to redo");
const move = (from, to, forward, nothing) => {
  stopFixing(false);
  const command = from.pop();
  if (!command) return tell(nothing);
  to.push(command);
  perform(command, forward);
  const [first] = command.segs;
  if (first) showPara(first[0].para);
  keepDraft();
};

const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

let pending = { json: "", id: "", created_at: "" };
// All changes since the last saved revision, as a revision, or null if there are none.
const pendingRevision = () => {
  const speakers = {};
  for (const { name, loaded } of voices) if (loaded !== null && loaded !== name) speakers[loaded] = name;
  const changes = [];
  for (const seg of segs) {
    const { loaded } = seg;
    const one = { segment: seg.index };
    if (seg.words !== loaded.words) {
      one.text = textOf(seg.words);
      one.words = seg.words.map(({ text: string, start, end, sure }) => (
        { text: string, start, end, confidence: sure < 0 ? null : sure / 100 }
      ));
    }
    if (seg.voice !== loaded.voice) one.speaker = voices[seg.voice].name;
    if ((seg.flags ^ loaded.flags) & REVIEWED) one.reviewed = isReviewed(seg);
    if (Object.keys(one).length > 1) changes.push(one);
  }
  if (!changes.length && !Object.keys(speakers).length) return null;
  const content = { editor: byId("editor").value.trim() || null, speakers, changes };
  const json = JSON.stringify(content);
  // The same changes keep their id, by which the server recognizes a request whose answer was lost.
  if (json !== pending.json) pending = { json, id: newId(), created_at: new Date().toISOString().replace(/\.\d+Z$/, "+00:00") };
  return { id: pending.id, created_at: pending.created_at, ...content };
};

const isSameState = (seg) => seg.words === seg.loaded.words && seg.voice === seg.loaded.voice && seg.flags === seg.loaded.flags;
const countPending = () => segs.filter((seg) => !isSameState(seg)).length
  + voices.filter(({ name, loaded }) => loaded !== null && name !== loaded).length;

const snapshot = () => ({ segs: segs.map(stateOf), names: voices.map(({ name }) => name) });
// Sets the state with which the next revision is compared; by default the current state.
const settle = (state = snapshot()) => {
  state.segs.forEach((one, k) => { segs[k].loaded = one; });
  state.names.forEach((name, k) => { voices[k].loaded = name; });
  pending = { json: "", id: "", created_at: "" };
};

const voiceNamed = (name) => {
  const at = voices.findIndex((voice) => voice.name === name);
  if (at >= 0) return at;
  voices.push({ name, loaded: null });
  return voices.length - 1;
};

// Words with the spaces of the text, in which they follow each other.
const spacedWords = (seg, string, words) => {
  if (!words.length) return string ? [newWord(seg, string, false, seg.start, seg.end, -1)] : [];
  let at = 0;
  return words.map(({ text: part, start, end, confidence }) => {
    const begin = string.indexOf(part, at);
    at = begin < 0 ? at : begin + part.length;
    const spaced = begin > 0 && /\s/.test(string[begin - 1]);
    const sure = typeof confidence === "number" ? Math.round(confidence * 100) : -1;
    const same = seg.words.find((word) => word.text === part && Math.abs(word.start - start) < 0.002);
    return { ...newWord(seg, part, spaced, start, end, sure), fixed: same ? same.fixed : true };
  });
};

// The changes of a revision that another page or an earlier visit made, for `change`.
const changesOf = (revision) => {
  const names = Object.entries(revision.speakers || {}).flatMap(([from, to]) => {
    const at = voices.findIndex((voice) => voice.name === from);
    return at < 0 ? [] : [[at, to]];
  });
  const changes = (revision.changes || []).flatMap((one) => {
    const seg = segByIndex.get(one.segment);
    if (!seg) return [];
    const values = {};
    if (typeof one.text === "string") values.words = spacedWords(seg, one.text, one.words || []);
    if (typeof one.speaker === "string") values.speaker = one.speaker;
    if (typeof one.reviewed === "boolean") values.flags = one.reviewed ? seg.flags | REVIEWED : seg.flags & ~REVIEWED;
    return [[seg, values]];
  });
  return { names, changes };
};
const applyRevision = (revision) => {
  const { names, changes } = changesOf(revision);
  change([], names);
  change(changes.map(([seg, { speaker, ...values }]) => (
    [seg, speaker === undefined ? values : { ...values, voice: voiceNamed(speaker) }]
  )));
};
