// Batches: their jobs by state as a bar, speed, time left, and actions on a whole batch.
import { get, may, post } from "./api.js";
import { fill, h, segments } from "./dom.js";
import { count, duration, number, speed } from "./format.js";
import { act } from "./jobs.js";
import { limited, live } from "./live.js";

const STATES = ["done", "running", "queued", "failed", "incomplete", "cancelled"];

const one = (batch, after) => {
  const listed = STATES.filter((name) => batch.counts[name]).map((name) => `${number(batch.counts[name])} ${name}`).join(", ");
  const facts = [listed, batch.paused || batch.state === "paused" ? "paused" : "", batch.speed ? `${speed(batch.speed)} real time` : "", batch.left_s ? `${duration(batch.left_s)} left` : "", batch.needs_review ? `${batch.needs_review} to review` : ""];
  const path = `/v1/batches/${encodeURIComponent(batch.id)}`;
  const button = (text, step) => h("button", { type: "button", id: `${step}-${batch.id}`, text, "aria-label": `${text}: ${batch.id}`, onclick: async () => { await act(() => post(`${path}/${step}`), `${batch.id}: ${text.toLowerCase()}`); after(); } });
  const bad = (batch.counts.failed || 0) + (batch.counts.incomplete || 0);
  const open = (batch.counts.queued || 0) + (batch.counts.running || 0);
  return h("section.card", {},
    h("div.head", {}, h("h2", {}, h("a", { href: `#/jobs?batch=${encodeURIComponent(batch.id)}`, text: batch.id })), h("span.soft.small", { text: count(batch.total, "job") }),
      may.operate() ? h("div.actions", {}, bad ? button("Retry failed", "retry") : null, open ? (batch.paused || batch.state === "paused" ? button("Resume", "resume") : button("Pause", "pause")) : null) : null),
    segments(batch.counts, batch.total, `${batch.id}: ${listed}`),
    h("p.small.soft", { text: facts.filter(Boolean).join(" · ") }),
    batch.failures.length ? h("ul.small", {}, ...batch.failures.slice(0, 5).map((group) => h("li", { text: `${count(group.count, "job")}: ${group.reason}` }))) : null);
};

export const batches = async (box) => {
  const load = async () => {
    const found = await get("/v1/batches?limit=50");
    fill(box, h("div.head", {}, h("h1", { text: "Batches" })), found.batches.length ? found.batches.map((batch) => one(batch, refresh)) : h("p.empty", { text: "No batches yet." }));
  };
  const refresh = () => load().catch(() => { /* the next event reads it again */ });
  await load();
  const again = limited(refresh, 3000);
  const end = live({ jobs: again });
  return () => { end(); again.stop(); };
};
