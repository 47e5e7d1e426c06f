// One job: live text while it runs; afterwards the transcript with its audio, and downloads in every format.
import { follow, get, jobUrl } from "./api.js";
import { bar, fill, h, state } from "./dom.js";
import { clock, duration, name, speed, when } from "./format.js";
import { actions } from "./jobs.js";

const PRESETS = [["", "plain"], ["netflix-en", "Netflix, English"], ["netflix-zh-hant", "Netflix, Chinese"]];
export const FORMATS = [["srt", "SubRip"], ["vtt", "WebVTT"], ["txt", "text"], ["html", "page"], ["ass", "ASS"], ["tsv", "TSV"], ["ctm", "CTM"], ["textgrid", "TextGrid"], ["json", "JSON"]];

// Events of one job -> calls. After a reconnect each commit comes once, and the last event is `end`.
export const followJob = (id, { onJob, onProgress, onCommit }) => follow(jobUrl(id, "/events"), {
  status: onJob,
  progress: onProgress,
  commit: onCommit,
  end: (data, end) => { end(); onJob(data); },
});

const facts = (job) => {
  const rows = [
    ["State", state(job)],
    ["Recording", job.source],
    ["Batch", job.batch ? h("a", { href: `#/jobs?batch=${encodeURIComponent(job.batch)}`, text: job.batch }) : null],
    ["Audio", job.duration_s ? clock(job.duration_s) : null],
    ["Created", when(job.created_at)],
    ["Took", job.ended_at && job.started_at ? `${duration(job.ended_at - job.started_at)}${job.duration_s ? ` (${speed(job.duration_s / Math.max(0.1, job.ended_at - job.started_at))} real time)` : ""}` : null],
    ["Attempts", job.attempts > 1 ? String(job.attempts) : null],
    ["Files", job.outputs?.length ? job.outputs.join(", ") : null],
    ["Id", job.id],
  ];
  return h("dl.facts", {}, ...rows.filter(([, value]) => value).flatMap(([label, value]) => [h("dt", { text: label }), h("dd", {}, value)]));
};

const notices = (job) => [
  job.error ? h("p.notice", { role: "alert", text: job.error }) : null,
  ...(job.quality?.reasons || []).map((reason) => h("p.notice", { text: `Please review: ${reason.text}` })),
  ...(job.warnings || []).map((text) => h("p.notice", { text })),
  job.trouble && job.state === "running" ? h("p.notice", { text: job.trouble }) : null,
];

const link = (job, format, text, options) => {
  const query = new URLSearchParams({ format });
  if (options.script.value) query.set("script", options.script.value);
  if (options.preset.value) query.set("preset", options.preset.value);
  return h("a.button", { href: jobUrl(job.id, `/transcript?${query}`), download: `${name(job.source).replace(/\.[^.]*$/, "")}.${format === "textgrid" ? "TextGrid" : format}`, text });
};

const downloads = (job) => {
  const option = (id, label, values) => {
    const box = h("select", { id }, ...values.map(([value, text]) => h("option", { value, text })));
    return [h("label", {}, label, box), box];
  };
  const [presetLabel, preset] = option("preset", "Subtitle style", PRESETS);
  const [scriptLabel, script] = option("script", "Chinese script", [["", "as recognized"], ["hk", "Hong Kong"], ["tw", "Taiwan"], ["cn", "simplified"]]);
  const links = h("div.actions");
  const draw = () => fill(links, FORMATS.map(([format, text]) => link(job, format, text, { preset, script })));
  for (const box of [preset, script]) box.addEventListener("change", draw);
  draw();
  return h("section.card", {}, h("h2", { text: "Download" }), links, h("div.options", {}, presetLabel, scriptLabel));
};

export const job = async (box, [id = ""]) => {
  let record = await get(jobUrl(id));
  const head = h("div");
  const info = h("div");
  const body = h("div.below");
  const progress = h("div");
  const text = h("div.transcript", { "aria-live": "polite", "aria-relevant": "additions", id: "text" });
  const partial = h("p", {}, h("time"), h("span.soft"));
  let follows = null;
  let shown = "";

  const segment = (one) => {
    const line = h("p", {}, h("time", { text: clock(one.start) }), h("span", { text: one.text, lang: one.language || null }));
    text.append(line);
    partial.lastChild.textContent = "";
  };
  const live = () => {
    text.replaceChildren();
    body.replaceChildren(h("section.card", {}, h("h2", { text: "Live text" }), progress, text, partial));
    follows?.();
    follows = followJob(id, {
      onJob: (changed) => refresh(changed),
      onProgress: (data) => {
        const sent = Number(data.committed_s || 0);
        const total = Number(data.duration_s || record.duration_s || 0);
        if (total) fill(progress, bar(sent / total, "Transcribed"), h("p.small.soft", { text: `${clock(sent)} of ${clock(total)}` }));
        if (data.partial !== undefined) partial.lastChild.textContent = data.partial;
      },
      onCommit: segment,
    });
  };
  const finished = () => {
    follows?.();
    follows = null;
    const page = `/console/jobs/${encodeURIComponent(id)}/page`;
    const parts = record.state === "done" || record.state === "incomplete"
      ? [h("section.card", {}, h("h2", { text: "Transcript" }), h("div.actions", {}, h("a.button.primary", { href: page, text: "Open the transcript with its audio" })),
        h("audio", { controls: true, preload: "none", src: jobUrl(id, "/audio"), "aria-label": `Audio of ${name(record.source)}` }), text), downloads(record)] : [];
    body.replaceChildren(...parts);
    if (parts.length) written();
  };
  const written = async () => {
    try {
      const found = await get(jobUrl(id, "/transcript"));
      text.replaceChildren();
      text.setAttribute("aria-live", "off");
      if (found.language) text.setAttribute("lang", found.language);
      for (const one of found.segments) segment(one);
      if (!found.segments.length) text.append(h("p.soft", { text: "No speech was found." }));
    } catch (error) {
      text.replaceChildren(h("p.error", { text: error.message }));
    }
  };
  const draw = () => {
    fill(head, h("div.head", {}, h("h1", { text: name(record.source) }), h("div.actions", {}, ...actions(record, () => refresh(null)))));
    fill(info, ...notices(record), h("section.card", {}, facts(record)));
    const kind = ["queued", "running"].includes(record.state) ? "live" : record.state;
    if (kind === shown) return;
    shown = kind;
    if (kind === "live") live();
    else finished();
  };
  const refresh = async (changed) => {
    try {
      record = changed?.source ? changed : await get(jobUrl(id));
      draw();
    } catch { /* the next event reads it again */ }
  };
  box.replaceChildren(head, info, body);
  draw();
  const timer = setInterval(() => { if (["queued", "running"].includes(record.state)) refresh(null); }, 5000);
  return () => { clearInterval(timer); follows?.(); };
};

