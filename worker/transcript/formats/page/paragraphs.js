// -- elements of the words, only near the visible part of the page -----------------------------------------------------

const wordOf = new WeakMap();

const wordClasses = (word) => [
  isUnsure(word) && (word.sure < 50 ? "c0" : "c1"),
  word.fixed && "fixed",
  word.hit && "hit",
  word.chosen && "chosen",
  word.lit && "lit",
].filter(Boolean).join(" ");

const mark = (word) => {
  if (word.node && word.node.className !== wordClasses(word)) word.node.className = wordClasses(word);
};

const fill = (seg) => {
  const nodes = [];
  seg.words.forEach((word, k) => {
    if (word.spaced && k) nodes.push(" ");
    const node = document.createElement("span");
    node.dataset.t = `${Math.round(word.start * 1000)} ${Math.round(word.end * 1000)}${word.sure < 0 ? "" : ` ${word.sure}`}`;
    node.textContent = word.text;
    word.node = node;
    wordOf.set(node, word);
    const classes = wordClasses(word);
    if (classes) node.className = classes;
    nodes.push(node);
  });
  seg.node.replaceChildren(...nodes);
};

const reviewButton = (para) => {
  const button = document.createElement("button");
  button.className = "ok";
  button.textContent = "✓";
  button.addEventListener("click", () => toggleReviewed(para));
  para.ok = button;
  para.el.querySelector(".side").append(button);
};

// Updates the speaker's name and the review mark of a paragraph.
const dress = (para) => {
  const done = para.segs.every(isReviewed);
  para.el.classList.toggle("reviewed", done);
  if (para.ok) {
    para.ok.setAttribute("aria-pressed", String(done));
    para.ok.setAttribute("aria-label", `Reviewed, paragraph at ${clock(para.start)}`);
    para.ok.title = done ? "Reviewed" : "Mark as reviewed (R)";
  }
  const before = paras[para.number - 1];
  const { name } = voices[para.voice];
  const shown = name && (!before || before.voice !== para.voice || before.el.nextElementSibling !== para.el);
  let who = para.body.querySelector(".who");
  if (!shown && !(editing && para.live)) {
    who?.remove();
    return;
  }
  if (!who || who.nodeName !== "BUTTON") {
    who?.remove();
    who = document.createElement("button");
    para.body.prepend(who);
    who.addEventListener("click", () => askSpeaker(para, who));
  }
  who.className = `who v${(para.voice % COLOURS) + 1}${shown ? "" : " quiet"}`;
  who.textContent = shown ? name : name || "Name the speaker";
  who.title = "Name the speaker";
};

const wake = (para) => {
  if (para.live) return;
  para.live = true;
  para.segs.forEach(fill);
  if (!para.ok) reviewButton(para);
  dress(para);
};

// Replaces the elements of the words by plain text again, so that a long page stays small.
const sleep = (para) => {
  if (!para.live || para.el.contains(document.activeElement)) return;
  para.live = false;
  for (const seg of para.segs) {
    for (const word of seg.words) word.node = null;
    seg.node.textContent = textOf(seg.words);
  }
};

// A frame spends at most this long on making elements. Their layout takes several times longer.
const BUDGET_MS = 3;
const waiting = new Set();
let planned = false;
const work = () => {
  planned = false;
  const start = performance.now();
  const selected = !getSelection().isCollapsed; // read once: after a change of the page, it would need a layout
  for (const para of waiting) {
    waiting.delete(para);
    if (para.near) wake(para);
    else if (!selected) sleep(para);
    if (performance.now() - start > BUDGET_MS) break;
  }
  if (waiting.size) plan();
};
const plan = () => {
  if (planned) return;
  planned = true;
  requestAnimationFrame(work);
};
const setNear = (para, near) => {
  para.near = near;
  if (near !== para.live) waiting.add(para);
  else waiting.delete(para);
  if (waiting.size) plan();
};
// The browser reports which paragraphs it lays out (`content-visibility: auto`). An observer of all paragraphs, for older
// browsers, costs several milliseconds a frame.
const observeParagraphs = () => {
  if ("oncontentvisibilityautostatechange" in document.documentElement) {
    for (const para of paras) para.el.addEventListener("contentvisibilityautostatechange", ({ skipped }) => setNear(para, !skipped));
  }
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) setNear(paraOf.get(entry.target), entry.isIntersecting);
    // The first report is needed in every browser: paragraphs that are visible from the start do not change.
    if ("oncontentvisibilityautostatechange" in document.documentElement) observer.disconnect();
  }, { rootMargin: "600px 0px" });
  for (const para of paras) observer.observe(para.el);
};

const calm = matchMedia("(prefers-reduced-motion: reduce)");
// Scrolls to a word. Over long distances without animation, because a browser would have to lay out all between.
// The heights of paragraphs that were never laid out are estimates. When they get their real ones, the browser may end an
// animation early or move the goal out of view. So the goal is checked again, until it is in view for the first time, the
// reader scrolls, or another goal is shown.
let goalTimer = 0;
const forgetGoal = () => clearTimeout(goalTimer);
const isInView = ({ top, bottom }) => top < innerHeight && bottom > 0;
// `nodeOf`: returns the current element of the goal. Elements of words are replaced, so it may change.
const scrollToCentre = (nodeOf) => {
  forgetGoal();
  const before = nodeOf().getBoundingClientRect();
  const smooth = !calm.matches && Math.abs(before.top) <= 3 * innerHeight;
  nodeOf().scrollIntoView({ block: "center", behavior: smooth ? "smooth" : "auto" });
  if (isInView(before)) return;
  let checks = 5;
  const check = () => {
    if (isInView(nodeOf().getBoundingClientRect()) || !checks) return;
    checks -= 1;
    nodeOf().scrollIntoView({ block: "center", behavior: "auto" });
    goalTimer = setTimeout(check, 150);
  };
  goalTimer = setTimeout(check, smooth ? 900 : 150);
};
const show = (word) => {
  const { para } = word.seg;
  wake(para);
  scrollToCentre(() => word.node || para.el);
};
const showPara = (para) => scrollToCentre(() => para.el);

const SCROLL_KEYS = ["PageUp", "PageDown", "Home", "End"];
// Calls `run` when the reader scrolls: with the wheel, a finger, the keyboard or the scroll bar.
const whenReaderScrolls = (run) => {
  for (const kind of ["wheel", "touchmove"]) addEventListener(kind, run, { passive: true });
  addEventListener("keydown", ({ key, target }) => { if (SCROLL_KEYS.includes(key) && !target.closest("input, select")) run(); });
  addEventListener("pointerdown", ({ target }) => { if (target === root) run(); });
};
