// -- playback and its highlight ----------------------------------------------------------------------------------------

const audio = byId("audio");
const seek = byId("seek");
const total = Number(seek.max);
const STEP_S = 3; // length of a step back or forward
const REWIND_S = 1.5; // while correcting, playback resumes this much earlier, as in other transcription tools

let lit = new Set();
let current = new Set();
let following = true;
let ready = false;

const light = (time) => {
  const nowLit = new Set();
  const nowCurrent = new Set();
  for (const list of wordsByVoice()) {
    const at = lastBefore(list, time + 0.02);
    if (at < 0) continue;
    const word = list[at];
    const next = list[at + 1];
    // The highlight of a word lasts until the next word, but not through a pause.
    if (time < Math.max(word.end, Math.min(next ? next.start : Infinity, word.end + 0.25))) nowLit.add(word);
    if (time < Math.max(word.end, word.seg.end) + 0.5) nowCurrent.add(word.seg.para);
  }
  for (const word of lit) if (!nowLit.has(word)) { word.lit = false; mark(word); }
  for (const word of nowLit) if (!word.lit) { word.lit = true; mark(word); }
  lit = nowLit;
  let entered = null;
  for (const para of nowCurrent) {
    if (current.has(para)) continue;
    entered = para;
    wake(para);
    para.el.classList.add("current");
  }
  if (nowCurrent.size) {
    for (const para of current) if (!nowCurrent.has(para)) para.el.classList.remove("current");
    current = nowCurrent;
  }
  return entered;
};

// In a long paragraph, the highlighted word can leave the visible part.
const isOutOfView = () => {
  const [word] = lit;
  if (!word?.node) return false;
  const box = word.node.getBoundingClientRect();
  return box.bottom > innerHeight - 160 || box.top < 60;
};

const tick = () => {
  const time = audio.currentTime;
  seek.value = time;
  byId("now").textContent = clock(time);
  seek.setAttribute("aria-valuetext", clock(time));
  const entered = light(time);
  if (following && !audio.paused && !fixing) {
    if (entered) showPara(entered);
    else if (isOutOfView()) show([...lit][0]);
  } else if (following && entered && !fixing) showPara(entered);
  byId("follow").hidden = following || audio.paused;
  paint();
};
const loop = () => {
  tick();
  if (!audio.paused) requestAnimationFrame(loop);
};
const go = (time, play) => {
  if (!ready) {
    light(time);
    ask();
    return;
  }
  audio.currentTime = Math.min(Math.max(0, time), total || time);
  following = true;
  if (play) audio.play().catch(() => {});
  tick();
};
const toggle = () => {
  if (!ready) return ask();
  if (!audio.paused) return audio.pause();
  if (editing && audio.currentTime > REWIND_S) audio.currentTime -= REWIND_S;
  audio.play().catch(() => {});
};
const skip = (by) => go(audio.currentTime + by);

// -- the audio file ----------------------------------------------------------------------------------------------------

const setReady = (now) => {
  ready = now;
  document.body.classList.toggle("silent", !now);
  byId("speed").disabled = !now;
};
const missing = (why) => {
  setReady(false);
  byId("why").textContent = why;
  byId("choose").hidden = false;
};
const ask = () => {
  byId("choose").hidden = false;
  byId("file").focus();
};
let given = "";
const NAME = about.name;
const NOT_FOUND = `${NAME} was not found at its original location or in the folder of this page.`;

// An address of the page can name a moment (`#t=12.5`) or words to search for (`#q=rain`).
const openAddress = () => {
  const time = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
  if (time) jumpTo(Number(time[1]));
  const query = /^#q=(.+)$/.exec(location.hash);
  if (query) {
    try {
      byId("find").value = decodeURIComponent(query[1]);
    } catch {
      return; // no valid address
    }
    search();
  }
};

// A later visit continues at the position of the last one, unless the address names a moment or words.
const PLACE = `stt-place:${about.job}:${about.sha256.slice(0, 16)}`;
const PLACE_MIN_S = 5; // positions closer to the start or the end are not stored
const storePlace = () => {
  const time = audio.currentTime;
  if (ready) stored(PLACE, time > PLACE_MIN_S && time < audio.duration - PLACE_MIN_S ? time.toFixed(1) : null);
};
const openPlace = () => {
  const time = Number(stored(PLACE));
  if (location.hash || !(time > PLACE_MIN_S && time < audio.duration) || audio.currentTime) return;
  go(time);
  tell(`Continues at ${clock(time)}; press 0 for the start`);
};

const startPlayer = () => {
  audio.addEventListener("loadedmetadata", () => {
    setReady(true);
    byId("choose").hidden = true;
    if (Number.isFinite(audio.duration) && audio.duration > 0) seek.max = audio.duration;
    if (location.hash.startsWith("#t=")) openAddress();
    openPlace();
  });
  addEventListener("pagehide", storePlace);
  const sources = [...audio.querySelectorAll("source")];
  if (sources.length) sources[sources.length - 1].addEventListener("error", () => missing(NOT_FOUND));
  else missing(NOT_FOUND);
  if (audio.networkState === HTMLMediaElement.NETWORK_NO_SOURCE) missing(NOT_FOUND);
  audio.addEventListener("error", () => missing(`This browser cannot play ${given || NAME}; choose the audio in another format.`));
  byId("file").addEventListener("change", (event) => {
    const file = event.target.files[0];
    if (!file) return;
    given = file.name;
    audio.src = URL.createObjectURL(file);
    audio.load();
  });
  audio.addEventListener("play", () => {
    document.body.classList.add("playing");
    byId("play").setAttribute("aria-label", "Pause");
    loop();
  });
  audio.addEventListener("pause", () => {
    document.body.classList.remove("playing");
    byId("play").setAttribute("aria-label", "Play");
    storePlace();
    tick();
  });
  audio.addEventListener("seeked", tick);
  byId("play").addEventListener("click", toggle);
  byId("back").addEventListener("click", () => skip(-STEP_S));
  byId("on").addEventListener("click", () => skip(STEP_S));
  byId("speed").addEventListener("change", (event) => { audio.playbackRate = Number(event.target.value); });
  seek.addEventListener("input", () => go(Number(seek.value)));
  byId("follow").addEventListener("click", () => {
    following = true;
    for (const para of current) showPara(para);
    tick();
  });
  whenReaderScrolls(() => {
    forgetGoal();
    following = false;
  });
};

// -- mouse and touch ---------------------------------------------------------------------------------------------------

const tip = byId("tip");
const startMouse = () => {
  text.addEventListener("click", (event) => {
    const time = event.target.closest(".at");
    if (time) {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens the link elsewhere
      event.preventDefault();
      const para = paraOf.get(time.closest(".seg"));
      history.replaceState(null, "", time.getAttribute("href"));
      go(para.start, true);
      return;
    }
    if (String(getSelection())) return;
    const word = wordOf.get(event.target.closest("[data-t]"));
    if (!word) return;
    if (editing && !event.altKey) fix(word);
    else go(word.start, true);
  });
  // Without this, the click would close the input of the other word, and the elements of its segment would be replaced
  // before the click arrives.
  text.addEventListener("mousedown", (event) => {
    const word = wordOf.get(event.target.closest("[data-t]"));
    if (fixing && word && word !== fixing.word) event.preventDefault();
  });
  text.addEventListener("dblclick", (event) => {
    const word = wordOf.get(event.target.closest("[data-t]"));
    if (!word || editing) return;
    getSelection().removeAllRanges();
    audio.pause();
    setEditing(true);
    fix(word);
  });
  text.addEventListener("pointerover", (event) => {
    const word = wordOf.get(event.target.closest("[data-t]"));
    tip.hidden = !word || event.pointerType === "touch";
    if (tip.hidden) return;
    const state = word.fixed ? " · corrected" : word.sure < 0 ? "" : ` · confidence ${word.sure} %`;
    tip.textContent = clock(word.start) + state;
    const box = word.node.getClientRects()[0];
    tip.style.left = `${Math.min(Math.max(box.left + box.width / 2 - tip.offsetWidth / 2, 4), innerWidth - tip.offsetWidth - 4) + scrollX}px`;
    tip.style.top = `${box.top - tip.offsetHeight - 4 + scrollY}px`;
  });
  text.addEventListener("pointerleave", () => { tip.hidden = true; });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
};
