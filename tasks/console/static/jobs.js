// The list of jobs: filters, pages, and actions on single jobs.
import { get, jobUrl, may, post, call } from "./api.js";
import { bar, fill, h, state, toast } from "./dom.js";
import { ago, clock, name } from "./format.js";
import { limited, live } from "./live.js";

const PAGE = 50;
const STATES = [["", "all states"], ["queued,running", "unfinished"], ["queued", "queued"], ["running", "running"], ["done", "done"], ["failed,incomplete", "failed or incomplete"], ["failed", "failed"], ["incomplete", "incomplete"], ["cancelled", "cancelled"]];
const SINCE = [["", "any time"], ["3600", "last hour"], ["86400", "last day"], ["604800", "last week"]];

export const act = async (work, done) => {
  try {
    await work();
    toast(done);
  } catch (error) {
    toast(error.message);
  }
};

export const actions = (job, after) => {
  if (!may.submit()) return [];
  const button = (text, run, kind = "") => h(`button${kind}`, { type: "button", id: `${text}-${job.id}`, text, "aria-label": `${text} ${name(job.source)}`, onclick: async () => { await act(run, `${name(job.source)}: ${text.toLowerCase()}`); after(); } });
  const ended = !["queued", "running"].includes(job.state);
  if (!ended) {
    return [
      job.paused ? button("Resume", () => post(jobUrl(job.id, "/resume"))) : button("Pause", () => post(jobUrl(job.id, "/pause"))),
      button("Cancel", () => call(jobUrl(job.id), { method: "DELETE" }), ".danger"),
    ];
  }
  return job.state === "done" ? [] : [button("Retry", () => post(jobUrl(job.id, "/retry")))];
};

const row = (job, after) => h("tr", {},
  h("td", {}, h("a", { href: `#/job/${encodeURIComponent(job.id)}`, text: name(job.source) }), job.error ? h("span.why", { text: job.error }) : null, job.trouble && !job.error ? h("span.why", { text: job.trouble }) : null),
  h("td.fit", {}, state(job)),
  h("td.num", { "data-label": "audio" }, job.state === "running" && job.duration_s ? bar(job.committed_s / job.duration_s, `Progress of ${name(job.source)}`) : null, job.duration_s ? `${job.state === "running" ? `${clock(job.committed_s)} of ` : ""}${clock(job.duration_s)}` : ""),
  h("td", { "data-label": "batch" }, job.batch ? h("a", { href: `#/jobs?batch=${encodeURIComponent(job.batch)}`, text: job.batch }) : ""),
  h("td.fit", { "data-label": "created", text: ago(job.created_at) }),
  h("td.fit", {}, h("div.actions", {}, ...actions(job, after))));

export const table = (list, after) => h("div.table", {}, h("table.stack", {},
  h("thead", {}, h("tr", {}, ...["Recording", "State", "Audio", "Batch", "Created", ""].map((text, k) => h(k === 2 ? "th.num" : "th", { scope: "col", text: text || null }, text ? null : h("span.sr", { text: "Actions" }))))),
  h("tbody", {}, ...list.map((job) => row(job, after)))));

const select = (id, label, options, value) => {
  const box = h("select", { id }, ...options.map(([key, text]) => h("option", { value: key, text, selected: key === value })));
  return [h("label", {}, label, box), box];
};

export const jobs = async (box, _rest, query) => {
  const find = h("input", { type: "search", id: "find", value: query.get("source") || "", placeholder: "part of the file name", autocomplete: "off" });
  const [stateLabel, stateBox] = select("state", "State", STATES, query.get("state") || "");
  const [sinceLabel, sinceBox] = select("since", "Created", SINCE, query.get("since") || "");
  const batch = h("input", { type: "text", id: "batch", value: query.get("batch") || "", autocomplete: "off" });
  const list = h("div", { "aria-busy": "true" });
  const pager = h("div.actions.pager");
  let cursors = [null];
  let next = null;
  let abort = new AbortController();

  const address = () => {
    const filters = new URLSearchParams();
    for (const one of stateBox.value.split(",").filter(Boolean)) filters.append("state", one);
    if (find.value.trim()) filters.set("source", find.value.trim());
    if (batch.value.trim()) filters.set("batch", batch.value.trim());
    if (sinceBox.value) filters.set("created_after", String(Math.floor(Date.now() / 1000 - Number(sinceBox.value))));
    const cursor = cursors.at(-1);
    if (cursor) filters.set("cursor", cursor);
    filters.set("limit", String(PAGE));
    return `/v1/jobs?${filters}`;
  };
  const load = async () => {
    abort.abort();
    abort = new AbortController();
    list.setAttribute("aria-busy", "true");
    try {
      const found = await get(address(), abort.signal);
      next = found.next;
      fill(list, found.jobs.length ? table(found.jobs, load) : h("p.empty", { text: cursors.length > 1 ? "No more jobs." : "No jobs match." }));
      turnButtons();
    } catch (error) {
      if (error.name !== "AbortError") fill(list, h("p.notice", { role: "alert", text: error.message }));
    }
    list.setAttribute("aria-busy", "false");
  };
  const turnButtons = () => fill(pager,
    h("button", { id: "newer", type: "button", text: "Newer", disabled: cursors.length < 2 }),
    h("button", { id: "older", type: "button", text: "Older", disabled: !next }),
    h("span.soft.small", { text: `page ${cursors.length}` }));
  pager.addEventListener("click", (event) => {
    if (event.target.id === "newer") cursors.pop();
    else if (event.target.id === "older") cursors.push(next);
    else return;
    load();
  });
  const filtered = () => {
    cursors = [null];
    const kept = new URLSearchParams(Object.entries({ state: stateBox.value, source: find.value, batch: batch.value, since: sinceBox.value }).filter(([, value]) => value));
    history.replaceState(null, "", `#/jobs${kept.size ? `?${kept}` : ""}`);
    load();
  };
  let soon = 0;
  for (const input of [find, batch]) input.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(filtered, 150); });
  for (const input of [stateBox, sinceBox]) input.addEventListener("change", filtered);
  box.replaceChildren(h("div.head", {}, h("h1", { text: "Jobs" })), h("div.filters", { role: "search" }, h("label.wide", {}, "File name", find), stateLabel, h("label", {}, "Batch", batch), sinceLabel), list, pager);
  await load();
  const again = limited(load, 2000);
  const end = live({ jobs: again });
  return () => { end(); again.stop(); abort.abort(); clearTimeout(soon); };
};
