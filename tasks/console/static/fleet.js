// Workers with their heartbeat, the state of the API key, and webhooks that could not be delivered.
import { get, may, post } from "./api.js";
import { fill, h } from "./dom.js";
import { ago, count, duration, when } from "./format.js";
import { act } from "./jobs.js";
import { live } from "./live.js";

const head = (...names) => h("thead", {}, h("tr", {}, ...names.map((text) => h("th", { scope: "col" }, text ? text : h("span.sr", { text: "Actions" })))));

const workers = (data) => h("section.card", {}, h("h2", { text: "Workers" }),
  data.workers.length ? h("div.table", {}, h("table.stack", {}, head("Worker", "State", "Version", "Sessions", "Jobs", "Running for", "Last heartbeat"),
    h("tbody", {}, ...data.workers.map((one) => h("tr", {},
      h("td", { text: `${one.host}, process ${one.pid}` }),
      h("td.fit", {}, h(`span.state.${one.lost ? "lost" : "done"}`, { text: one.lost ? "lost" : "connected" })),
      h("td", { "data-label": "version", text: one.version }),
      h("td.fit", { "data-label": "sessions", text: `${one.sessions} of ${one.max_sessions}` }),
      h("td.fit", { "data-label": "jobs", text: String(one.jobs) }),
      h("td.fit", { "data-label": "running for", text: duration(Date.now() / 1000 - one.started_at) }),
      h("td.fit", { "data-label": "heartbeat", text: one.age_s < 8 ? "now" : `${duration(one.age_s)} ago` }))))))
    : h("p.empty", { text: "No worker is running. Start one with: stt-batch worker" }));

const keys = (data) => h("section.card", {}, h("h2", { text: "API key" }),
  data.paused_keys.length
    ? data.paused_keys.map((key) => h("div", {}, h("p", {}, h("span.state.failed", { text: "paused" }), ` since ${when(key.since_at)}, ${count(key.failures, "refusal")}`), h("p.error", { text: key.reason || key.code }),
      h("p.soft.small", { text: `Next probe: ${when(key.next_probe_at)}. Jobs start again when a probe succeeds.` }),
      may.operate() ? h("button", { type: "button", id: `probe-${key.name}`, text: "Probe now", onclick: () => act(() => post(`/console/keys/${encodeURIComponent(key.name)}/probe`), "The next job probes the key") }) : null))
    : h("p", {}, h("span.state.done", { text: "accepted" }), " No key of a worker is refused."));

const webhooks = (data, after) => h("section.card", {},
  h("div.head", {}, h("h2", { text: "Webhooks" }), h("span.soft.small", { text: `${count(data.waiting.length, "message")} waiting, ${data.dead.length} failed` }),
    may.operate() && data.dead.length ? h("div.actions", {}, h("button", { type: "button", id: "retry-webhooks", text: "Send all failed again", onclick: async () => { await act(() => post("/console/webhooks/retry", { ids: data.dead.map((one) => one.id) }), "Failed webhooks are sent again"); after(); } })) : null),
  data.dead.length + data.waiting.length ? h("div.table", {}, h("table.stack", {}, head("Receiver", "State", "Job or batch", "Attempts", "Reason", "Time"),
    h("tbody", {}, ...[...data.dead, ...data.waiting].slice(0, 100).map((one) => h("tr", {},
      h("td", { text: one.to }),
      h("td.fit", {}, h(`span.state.${one.dead ? "failed" : "queued"}`, { text: one.dead ? "failed" : "waiting" })),
      h("td", { "data-label": "for", text: one.subject }),
      h("td.fit", { "data-label": "attempts", text: String(one.attempts) }),
      h("td", { text: one.reason }),
      h("td.fit", { text: one.dead ? ago(one.due_at) : when(one.due_at) }))))))
    : h("p.soft", { text: "No message waits, and none has failed." }));

export const fleet = async (box) => {
  const top = h("div");
  const hooks = h("div.below");
  const load = async () => fill(hooks, webhooks(await get("/console/webhooks"), () => load().catch(() => {})));
  const draw = (data) => fill(top, h("div.head", {}, h("h1", { text: "Workers" })), workers(data), keys(data));
  draw(await get("/console/overview"));
  await load();
  box.replaceChildren(top, hooks);
  const timer = setInterval(() => load().catch(() => { /* read again later */ }), 10000);
  const end = live({ overview: draw });
  return () => { end(); clearInterval(timer); };
};
