// -- subtitles and text of the current state -----------------------------------------------------------------------------
//
// `stt-batch export` lays out subtitles with more care (phrases, presets, two speakers at once).

const MAX_COLUMNS = 42;
const MAX_CUE_S = 6;
const MIN_CUE_S = 1;
const PAUSE_S = 0.8;
const GAP_S = 0.08;

const columns = (string) => [...string].reduce((sum, char) => sum + (isWide(char) ? 2 : 1), 0);
const limitOf = (string) => (WIDE.test(string) ? 32 : MAX_COLUMNS);

// Breaks a text into at most two lines of similar length.
const twoLines = (words) => {
  const whole = textOf(words);
  if (columns(whole) <= limitOf(whole)) return [whole];
  let best = null;
  for (let k = 1; k < words.length; k++) {
    const lines = [textOf(words.slice(0, k)), textOf(words.slice(k))];
    const widest = Math.max(...lines.map(columns));
    if (!best || widest < best.widest) best = { lines, widest };
  }
  return best ? best.lines : [whole];
};

const isSentenceEnd = (string) => /[.!?。！？…]["'”’」』）)]*$/.test(string);

// Cues of the words of one speaker, as { start, end, lines, name }.
const cuesOf = (words, name) => {
  const found = [];
  let now = [];
  const close = () => {
    if (now.length) found.push({ start: now[0].start, end: Math.max(...now.map((word) => word.end)), lines: twoLines(now), name });
    now = [];
  };
  for (const word of words) {
    const last = now[now.length - 1];
    const longer = textOf([...now, word]);
    const full = last && (columns(longer) > 2 * limitOf(longer) - 4 || word.end - now[0].start > MAX_CUE_S);
    const ends = last && (word.start - last.end > PAUSE_S || (last.seg !== word.seg && last.seg.para !== word.seg.para)
      || (isSentenceEnd(last.text) && last.end - now[0].start > 1.5));
    if (full || ends) close();
    now.push(last && !full && !ends && last.seg !== word.seg && !endsWide(last.text) && !startsWide(word.text)
      ? { ...word, spaced: true } : word);
  }
  close();
  found.forEach((cue, k) => {
    const next = found[k + 1];
    const wanted = Math.max(cue.end, cue.start + MIN_CUE_S, cue.start + columns(cue.lines.join("")) / 17);
    cue.end = Math.max(cue.start + 0.1, Math.min(wanted, cue.start + MAX_CUE_S, next ? next.start - GAP_S : Infinity));
  });
  return found;
};
const cues = () => wordsByVoice()
  .flatMap((words) => cuesOf(words, voices[words[0].seg.voice].name))
  .sort((a, b) => a.start - b.start);

const stamp = (seconds, point) => {
  const ms = Math.max(0, Math.round(seconds * 1000));
  const two = (n) => String(n).padStart(2, "0");
  return `${two(Math.floor(ms / 3600000))}:${two(Math.floor(ms / 60000) % 60)}:${two(Math.floor(ms / 1000) % 60)}${point}${String(ms % 1000).padStart(3, "0")}`;
};
// SubRip has no way to escape characters, so similar ones replace those that players take for markup.
const plainLine = (line) => line.replace(/</g, "＜").replace(/>/g, "＞").replace(/\{/g, "｛").replace(/\}/g, "｝").replace(/\\/g, "＼");
const safeLine = (line) => line.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const asSrt = () => {
  let before = "";
  return cues().map(({ start, end, lines, name }, k) => {
    const label = name && name !== before ? `${name}: ` : "";
    before = name;
    return `${k + 1}\n${stamp(start, ",")} --> ${stamp(end, ",")}\n${plainLine(label + lines.join("\n"))}\n`;
  }).join("\n");
};
const asVtt = () => `WEBVTT\n${cues().map(({ start, end, lines, name }) => (
  `\n${stamp(start, ".")} --> ${stamp(end, ".")}\n${name ? `<v ${safeLine(name)}>` : ""}${safeLine(lines.join("\n"))}\n`
)).join("")}`;

// The paragraphs as text, each with its speaker and, if requested, its time.
const asText = (times) => paras.map((para) => {
  const string = paraText(para);
  if (!string) return "";
  const { name } = voices[para.voice];
  return `${times ? `[${clock(para.start)}] ` : ""}${name ? `${name}: ` : ""}${string}`;
}).filter(Boolean).join("\n\n") + "\n";
