// -- waveform with speech, missing parts, uncertain parts and search matches ---------------------------------------------

const canvas = byId("marks");
const BARS = 1200; // maximum number of bars and of places with uncertain words

const readLevels = () => {
  if (!about.wave) return null;
  const bytes = Uint8Array.from(atob(about.wave.levels), (char) => char.charCodeAt(0));
  return { step: about.wave.step, bytes };
};
const levels = readLevels();

// Height of a level from 0 to 1. A level of 1 stands for -90 dBFS, 255 for 0 dBFS. Levels of speech are close to each
// other, so they are spread out.
const height = (level) => (level ? Math.max(0.06, Math.min(1, Math.max(0, (level - 100) / 125)) ** 1.7) : 0);

// Parts of the audio in which many words are uncertain, as [start, end] in seconds.
const uncertainParts = () => {
  const length = Math.max(total, 1);
  const unsure = new Float32Array(BARS);
  const count = new Float32Array(BARS);
  for (const word of allWords()) {
    const last = Math.min(BARS - 1, Math.floor((word.end / length) * BARS));
    for (let at = Math.min(last, Math.floor((word.start / length) * BARS)); at <= last; at++) {
      count[at] += 1;
      if (isUnsure(word)) unsure[at] += 1;
    }
  }
  const parts = [];
  for (let at = 0; at < BARS; at++) {
    if (!unsure[at] || unsure[at] < count[at] / 4) continue;
    const from = (at / BARS) * length;
    const to = ((at + 1) / BARS) * length;
    const last = parts[parts.length - 1];
    if (last && from - last[1] < length / 400) last[1] = to;
    else parts.push([from, to]);
  }
  return parts;
};

let painted = "";
let still = null; // the drawing without the position
let edition = 0; // number of changes that the drawing shows
const repaint = () => {
  edition += 1;
  paint();
};
const colourOf = (name) => getComputedStyle(root).getPropertyValue(name).trim();

const drawStill = (width, high, length, played) => {
  const layer = document.createElement("canvas");
  layer.width = width;
  layer.height = high;
  const draw = layer.getContext("2d");
  const x = (seconds) => Math.round((seconds / length) * width);
  const tall = high * 0.84;
  draw.globalAlpha = played ? 0.95 : 0.4;
  for (const seg of segs) {
    draw.fillStyle = colours[seg.voice % COLOURS];
    if (!levels) draw.fillRect(x(seg.start), high * 0.3, Math.max(1, x(seg.end) - x(seg.start)), high * 0.34);
  }
  if (levels) drawBars(draw, x, tall, width);
  draw.globalAlpha = 1;
  draw.fillStyle = colourOf("--bad");
  for (const [start, end] of about.gaps) draw.fillRect(x(start / 1000), high * 0.12, Math.max(2, x(end / 1000) - x(start / 1000)), high * 0.68);
  draw.fillStyle = colourOf("--doubt");
  for (const [start, end] of uncertainParts()) draw.fillRect(x(start), high * 0.9, Math.max(2, x(end) - x(start)), high * 0.1);
  return layer;
};

// Bars of the levels, in the colour of the speaker; sound without text is grey.
const drawBars = (draw, x, tall, width) => {
  const { step, bytes } = levels;
  const wide = Math.max(1, Math.floor((x(step * 100) / 100) * 0.7));
  const spoken = segs.toSorted ? segs.toSorted((a, b) => a.start - b.start) : [...segs].sort((a, b) => a.start - b.start);
  for (let k = 0; k < bytes.length && x(k * step) < width; k++) {
    const from = k * step;
    const seg = spoken[lastBefore(spoken, from + step)];
    const isSpeech = seg && seg.end > from;
    draw.fillStyle = isSpeech ? colours[seg.voice % COLOURS] : colourOfSilence;
    const high = (bytes[k] ? height(bytes[k]) : isSpeech ? 0.35 : 0.04) * tall;
    draw.fillRect(x(from), (tall - high) / 2 + 1, wide, Math.max(1, high));
  }
};

let colours = [];
let colourOfSilence = "";
const paint = () => {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const high = Math.round(canvas.clientHeight * devicePixelRatio);
  const length = Number(seek.max) || 1;
  const head = Math.round((Number(seek.value) / length) * width);
  const base = [width, high, root.dataset.theme, length, edition].join();
  const state = [base, head, hits.length, hits[0] && byId("find").value].join();
  if (state === painted || !width) return;
  painted = state;
  if (still?.base !== base) {
    colours = Array.from({ length: COLOURS }, (_, k) => colourOf(`--v${k + 1}`));
    colourOfSilence = colourOf("--soft");
    still = { base, ahead: drawStill(width, high, length, false), played: drawStill(width, high, length, true) };
  }
  canvas.width = width;
  canvas.height = high;
  const draw = canvas.getContext("2d");
  draw.fillStyle = colourOf("--line");
  draw.fillRect(0, high * 0.41, width, Math.max(1, high * 0.03));
  if (head) draw.drawImage(still.played, 0, 0, head, high, 0, 0, head, high);
  if (head < width) draw.drawImage(still.ahead, head, 0, width - head, high, head, 0, width - head, high);
  draw.fillStyle = colourOf("--hit-now");
  for (const hit of hits) draw.fillRect((hit[0].start / length) * width - 1, 0, 2 * devicePixelRatio, high * 0.9);
};

const startWaveform = () => {
  const player = document.querySelector(".player");
  new ResizeObserver(() => {
    root.style.setProperty("--player", `${player.offsetHeight}px`);
    paint();
  }).observe(player);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
};
