
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const audio = byId("audio");
  const seek = byId("seek");
  const text = byId("text");
  const total = Number(seek.max);
  const segments = [...text.querySelectorAll(".seg")];
  const words = [...text.querySelectorAll("[data-t]")].map((node) => {
    const [start, end, sure] = node.dataset.t.split(" ").map(Number);
    return { node, start: start / 1000, end: end / 1000, sure, segment: node.closest(".seg") };
  });
  const wordOf = new Map(words.map((word) => [word.node, word]));
  const startOf = new Map(segments.map((segment) => [segment, Number(segment.dataset.s) / 1000]));

  // Words by channel, in order of time, because two people may speak at the same time.
  const voices = new Map();
  for (const word of words) {
    const voice = word.segment.dataset.v;
    if (!voices.has(voice)) voices.set(voice, []);
    voices.get(voice).push(word);
  }
  for (const list of voices.values()) list.sort((a, b) => a.start - b.start);

  const clock = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    return (hours ? hours + ":" + two(Math.floor(whole / 60) % 60) : Math.floor(whole / 60)) + ":" + two(whole % 60);
  };
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const show = (node) => node.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });

  // -- playback highlight ---------------------------------------------------------------------------------------------

  let lit = new Set();
  let current = new Set();
  let following = true;
  let ready = false;

  const last = (list, time) => {
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle].start <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };

  const light = (time) => {
    const nowLit = new Set();
    const nowCurrent = new Set();
    for (const list of voices.values()) {
      const at = last(list, time + 0.02);
      if (at < 0) continue;
      const word = list[at];
      const next = list[at + 1];
      // The highlight of a word lasts until the next word, but not through a pause.
      if (time < Math.max(word.end, Math.min(next ? next.start : Infinity, word.end + 0.25))) nowLit.add(word.node);
      if (time < Math.max(word.end, Number(word.segment.dataset.e) / 1000) + 0.5) nowCurrent.add(word.segment);
    }
    for (const node of lit) if (!nowLit.has(node)) node.classList.remove("lit");
    for (const node of nowLit) node.classList.add("lit");
    for (const node of current) if (!nowCurrent.has(node)) node.classList.remove("current");
    let entered = null;
    for (const node of nowCurrent) {
      if (!current.has(node)) entered = node;
      node.classList.add("current");
    }
    lit = nowLit;
    if (nowCurrent.size) current = nowCurrent;
    return entered;
  };

  const tick = () => {
    const time = audio.currentTime;
    seek.value = time;
    byId("now").textContent = clock(time);
    seek.setAttribute("aria-valuetext", clock(time));
    const entered = light(time);
    if (entered && following) show(entered);
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
    if (audio.paused) audio.play().catch(() => {});
    else audio.pause();
  };

  // -- the audio file -------------------------------------------------------------------------------------------------

  const missing = (why) => {
    ready = false;
    document.body.classList.add("silent");
    byId("why").textContent = why;
    byId("choose").hidden = false;
  };
  const ask = () => {
    byId("choose").hidden = false;
    byId("file").focus();
  };
  let given = "";
  const NAME = document.title;
  audio.addEventListener("loadedmetadata", () => {
    ready = true;
    document.body.classList.remove("silent");
    byId("choose").hidden = true;
    if (Number.isFinite(audio.duration) && audio.duration > 0) seek.max = audio.duration;
    const asked = /^#t=([\d.]+)$/.exec(location.hash);
    if (asked) go(Number(asked[1]), false);
  });
  const sources = [...audio.querySelectorAll("source")];
  const NOT_FOUND = `${NAME} was not found at its original location or in the folder of this page.`;
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
    tick();
  });
  audio.addEventListener("seeked", tick);

  // -- mouse and touch ------------------------------------------------------------------------------------------------

  text.addEventListener("click", (event) => {
    if (String(getSelection())) return;
    const word = wordOf.get(event.target.closest("[data-t]"));
    const time = event.target.closest(".at");
    if (word) go(word.start, true);
    else if (time) go(startOf.get(time.closest(".seg")), true);
  });
  byId("play").addEventListener("click", toggle);
  byId("back").addEventListener("click", () => go(audio.currentTime - 5));
  byId("on").addEventListener("click", () => go(audio.currentTime + 5));
  byId("speed").addEventListener("change", (event) => { audio.playbackRate = Number(event.target.value); });
  seek.addEventListener("input", () => go(Number(seek.value)));
  byId("follow").addEventListener("click", () => {
    following = true;
    for (const node of current) show(node);
    tick();
  });
  for (const kind of ["wheel", "touchmove"]) {
    addEventListener(kind, () => { following = false; }, { passive: true });
  }

  const tip = byId("tip");
  text.addEventListener("pointerover", (event) => {
    const word = wordOf.get(event.target.closest("[data-t]"));
    tip.hidden = !word || event.pointerType === "touch";
    if (tip.hidden) return;
    tip.textContent = clock(word.start) + (Number.isNaN(word.sure) ? "" : ` · confidence ${word.sure} %`);
    const box = word.node.getClientRects()[0];
    tip.style.left = `${Math.min(Math.max(box.left + box.width / 2 - tip.offsetWidth / 2, 4), innerWidth - tip.offsetWidth - 4) + scrollX}px`;
    tip.style.top = `${box.top - tip.offsetHeight - 4 + scrollY}px`;
  });
  text.addEventListener("pointerleave", () => { tip.hidden = true; });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // -- search ---------------------------------------------------------------------------------------------------------

  const WIDE = /[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]|[\ud840-\ud8bf][\udc00-\udfff]/;
  const fold = (char) => {
    const folded = char.normalize("NFKC").toLowerCase();
    return folded.length === char.length ? folded : char;
  };
  // Spaces next to Chinese characters only affect the layout, so the search ignores them.
  const folded = (string) => {
    let out = "";
    const places = [];
    for (let at = 0; at < string.length; at++) {
      const char = string[at];
      if (/\s/.test(char)) {
        if (!out || out.endsWith(" ") || WIDE.test(out.slice(-1)) || WIDE.test(string[at + 1] || "")) continue;
        out += " ";
      } else out += fold(char);
      places.push(at);
    }
    return { out, places };
  };
  let index = null;
  const build = () => segments.map((segment) => {
    const spans = [...segment.querySelectorAll("[data-t]")];
    const { out, places } = folded(segment.querySelector("p").textContent);
    const edges = [];
    let at = 0;
    for (const node of segment.querySelector("p").childNodes) {
      if (node.nodeType === 1) edges.push([at, at + node.textContent.length]);
      at += node.textContent.length;
    }
    return { spans, out, places, edges };
  });
  let hits = [];
  let chosen = -1;
  const find = byId("find");
  const search = () => {
    index ||= build();
    for (const hit of hits) for (const node of hit) node.classList.remove("hit", "chosen");
    hits = [];
    chosen = -1;
    const wanted = folded(find.value.trim()).out;
    if (wanted) {
      for (const { spans, out, places, edges } of index) {
        for (let at = out.indexOf(wanted); at >= 0; at = out.indexOf(wanted, at + wanted.length)) {
          const begin = places[at];
          const end = places[at + wanted.length - 1] + 1;
          const nodes = spans.filter((_, k) => edges[k][0] < end && edges[k][1] > begin);
          if (nodes.length) hits.push(nodes);
        }
      }
      for (const hit of hits) for (const node of hit) node.classList.add("hit");
      choose(hits.findIndex((hit) => hit[0].getBoundingClientRect().bottom > 60));
    }
    showCount();
    paint();
  };
  const showCount = () => {
    byId("found").textContent = find.value.trim() ? (hits.length ? `${chosen + 1} of ${hits.length}` : "not found") : "";
  };
  const choose = (at) => {
    if (!hits.length) return;
    for (const node of hits[chosen] || []) node.classList.remove("chosen");
    chosen = (at + hits.length) % hits.length;
    for (const node of hits[chosen]) node.classList.add("chosen");
    following = false;
    show(hits[chosen][0]);
    showCount();
  };
  let soon = 0;
  find.addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(search, 80);
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(soon);
      if (!hits.length) search();
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

  // -- timeline with speech and search matches ------------------------------------------------------------------------

  const canvas = byId("marks");
  let painted = "";
  const paint = () => {
    const width = canvas.clientWidth * devicePixelRatio;
    const height = canvas.clientHeight * devicePixelRatio;
    const length = Number(seek.max) || 1;
    const head = Math.round((Number(seek.value) / length) * width);
    const state = [width, height, head, hits.length, hits[0] && find.value, root.dataset.theme, length].join();
    if (state === painted || !width) return;
    painted = state;
    canvas.width = width;
    canvas.height = height;
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const draw = canvas.getContext("2d");
    draw.fillStyle = colour("--line");
    draw.fillRect(0, height * 0.42, width, height * 0.16);
    for (const segment of segments) {
      const from = (Number(segment.dataset.s) / 1000 / length) * width;
      const to = (Number(segment.dataset.e) / 1000 / length) * width;
      const heard = to <= head;
      draw.globalAlpha = heard ? 0.95 : 0.4;
      draw.fillStyle = colour("--v" + (segment.dataset.v || "1"));
      draw.fillRect(from, height * 0.25, Math.max(1, to - from), height * 0.5);
      if (!heard && from < head) {
        draw.globalAlpha = 0.95;
        draw.fillRect(from, height * 0.25, head - from, height * 0.5);
      }
    }
    draw.globalAlpha = 1;
    draw.fillStyle = colour("--hit-now");
    for (const hit of hits) draw.fillRect((wordOf.get(hit[0]).start / length) * width - 1, 0, 2 * devicePixelRatio, height);
  };
  const player = document.querySelector(".player");
  new ResizeObserver(() => {
    root.style.setProperty("--player", `${player.offsetHeight}px`);
    paint();
  }).observe(player);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { painted = ""; paint(); });

  // -- preferences and keyboard ---------------------------------------------------------------------------------------

  // Reads or stores a preference. Browsers may deny storage to a page from disk.
  const preference = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      localStorage.setItem(name, value);
    } catch { /* the preference is lost on reload */ }
    return null;
  };
  const dark = () => root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    preference("stt-theme", root.dataset.theme);
    paint();
  };
  if (["dark", "light"].includes(preference("stt-theme"))) root.dataset.theme = preference("stt-theme");
  const doubt = (on) => {
    document.body.classList.toggle("plain", !on);
    byId("sure").setAttribute("aria-pressed", String(on));
    preference("stt-doubt", on ? "1" : "0");
  };
  doubt(preference("stt-doubt") !== "0");
  const sure = () => doubt(document.body.classList.contains("plain"));
  const keys = (open) => {
    byId("keys").hidden = !open;
    byId("help").setAttribute("aria-expanded", String(open));
  };
  byId("theme").addEventListener("click", theme);
  byId("sure").addEventListener("click", sure);
  byId("help").addEventListener("click", () => keys(byId("keys").hidden));
  addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#keys, #help")) keys(false);
  });

  const step = (by) => {
    const starts = segments.map((segment) => startOf.get(segment));
    const time = audio.currentTime;
    let at = starts.findLastIndex((start) => start <= time + 0.05);
    if (by < 0 && at >= 0 && time - starts[at] > 1.5) at += 1;
    at = Math.min(Math.max(at + by, 0), starts.length - 1);
    if (at >= 0) go(starts[at]);
  };
  const faster = (by) => {
    const speed = byId("speed");
    speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + by, 0), speed.options.length - 1);
    audio.playbackRate = Number(speed.value);
  };
  const actions = {
    " ": toggle, k: toggle, ArrowLeft: () => go(audio.currentTime - 5), ArrowRight: () => go(audio.currentTime + 5),
    j: () => go(audio.currentTime - 5), l: () => go(audio.currentTime + 5), ArrowUp: () => step(-1), ArrowDown: () => step(1),
    ",": () => faster(-1), ".": () => faster(1), "/": () => { find.focus(); find.select(); },
    c: sure, t: theme, "?": () => keys(byId("keys").hidden), Escape: () => keys(false),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("select")) return;
    if (event.target.closest("button") && (event.key === " " || event.key === "Enter")) return;
    const action = actions[event.key] || actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  document.body.classList.add("ready");
  audio.removeAttribute("controls");
  paint();
})();
