// -- preferences and keyboard ------------------------------------------------------------------------------------------

const dark = () => root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
const theme = () => {
  root.dataset.theme = dark() ? "light" : "dark";
  stored("stt-theme", root.dataset.theme);
  repaint();
};
const showDoubt = (on) => {
  document.body.classList.toggle("plain", !on);
  byId("sure").setAttribute("aria-pressed", String(on));
  stored("stt-doubt", on ? "1" : "0");
};
const toggleDoubt = () => showDoubt(document.body.classList.contains("plain"));

const spokenSegs = () => segs.filter((seg) => seg.words.length);
const stepSegment = (by) => {
  const list = spokenSegs();
  const time = audio.currentTime;
  let at = lastBefore(list, time + 0.05);
  if (by < 0 && at >= 0 && time - list[at].start > 1.5) at += 1;
  at = Math.min(Math.max(at + by, 0), list.length - 1);
  if (at < 0) return;
  [cursor] = list[at].words;
  go(list[at].start);
};
const changeSpeed = (by) => {
  const speed = byId("speed");
  speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + by, 0), speed.options.length - 1);
  audio.playbackRate = Number(speed.value);
};

// Keys that also work while a word is being corrected, as in oTranscribe.
const PLAYER_KEYS = { F1: () => skip(-STEP_S), F2: () => skip(STEP_S), F3: () => changeSpeed(-1), F4: () => changeSpeed(1) };
const KEYS = {
  ...PLAYER_KEYS,
  " ": toggle, k: toggle, ArrowLeft: () => skip(-STEP_S), ArrowRight: () => skip(STEP_S), j: () => skip(-STEP_S), l: () => skip(STEP_S),
  ArrowUp: () => stepSegment(-1), ArrowDown: () => stepSegment(1), ",": () => changeSpeed(-1), ".": () => changeSpeed(1),
  "0": () => go(0), "/": focusSearch, n: () => nextUnsure(1), N: () => nextUnsure(-1), p: () => nextUnsure(-1),
  e: () => setEditing(!editing), r: reviewHere, s: () => { const para = paraHere(); if (para) askSpeaker(para); }, y: copyLink,
  Enter: () => { if (editing && cursor) fix(cursor); },
  c: toggleDoubt, t: theme, "?": () => togglePanel("keys"), Escape: () => showPanel("", false),
};
const CONTROL_KEYS = { z: undo, y: redo, Z: redo, s: save, k: focusSearch };

const onKey = (event) => {
  if (event.altKey || event.isComposing || byId("speaker").open || byId("conflict").open) return;
  if (event.target.closest("select, input:not([type=range]), textarea")) return;
  const { key } = event;
  if (event.ctrlKey || event.metaKey) {
    const action = CONTROL_KEYS[event.shiftKey ? key.toUpperCase() : key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
    return;
  }
  if (event.target.closest("button, a") && (key === " " || key === "Enter")) return;
  const action = KEYS[key] || KEYS[key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
};

if (["dark", "light"].includes(stored("stt-theme"))) root.dataset.theme = stored("stt-theme");
showDoubt(stored("stt-doubt") !== "0");
byId("theme").addEventListener("click", theme);
byId("sure").addEventListener("click", toggleDoubt);
startPlayer();
startMouse();
startWaveform();
startSearch();
startEditor();
startSpeakers();
startSharing();
startSaving();
addEventListener("keydown", onKey);
addEventListener("hashchange", openAddress);
if (location.hash === "#edit") setEditing(true);
observeParagraphs();
showChanges();
paint();
openAddress();
prepareSearch();
document.body.classList.add("ready");
audio.removeAttribute("controls");
