// The operator's page: queue, sessions, throughput, key, batches and failures at a glance.
import { get } from "./api.js";
import { chart, fill, h } from "./dom.js";
import { duration, number, speed, when } from "./format.js";
import { live } from "./live.js";

const tile = (value, label, href) => h(href ? "a.tile.tile-link" : "div.tile", { href: href || null }, h("b", { text: value }), h("span", { text: label }));

export const keyNotice = (keys) => keys.map((key) => h("p.notice", {
  role: "alert",
  text: `The API key is paused since ${when(key.since_at)}: ${key.reason || key.code}. No job starts. Next probe: ${when(key.next_probe_at)}.`,
}));

const throughput = (minutes) => {
  const values = minutes.map((one) => one.audio_s / 60);
  const last = minutes.slice(-6, -1);
  const mean = last.length ? last.reduce((sum, one) => sum + one.audio_s, 0) / (60 * last.length) : 0;
  const took = last.reduce((sum, one) => sum + one.took_s, 0);
  const audio = last.reduce((sum, one) => sum + one.audio_s, 0);
  const top = Math.max(...values, 0);
  return h("section.card", {}, h("h2", { text: "Throughput" }),
    h("p.small.soft", { text: `${speed(mean) || "0×"} real time over the last five minutes` + (audio ? `; real-time factor of a session ${(took / audio).toFixed(2)}` : "") }),
    chart(values, `Throughput of the last ${minutes.length} minutes, at most ${speed(top)} real time`),
    h("div.chart-foot", {}, h("span", { text: `${minutes.length} min ago` }), h("span", { text: `highest ${speed(top)}` }), h("span", { text: "now" })));
};

const ended = (minutes) => h("section.card", {}, h("h2", { text: "Jobs ended" }),
  h("p.small.soft", { text: `${number(minutes.reduce((sum, one) => sum + one.done, 0))} done, ${number(minutes.reduce((sum, one) => sum + one.failed, 0))} failed or incomplete` }),
  chart(minutes.map((one) => one.done + one.failed), `Jobs that ended in the last ${minutes.length} minutes`),
  h("div.chart-foot", {}, h("span", { text: `${minutes.length} min ago` }), h("span", { text: "now" })));

const workersTile = (workers) => {
  const lost = workers.filter((one) => one.lost).length;
  const alive = workers.length - lost;
  return tile(number(alive), `${alive === 1 ? "worker" : "workers"} connected${lost ? `, ${lost} lost` : ""}`, "#/workers");
};

export const draw = (box, data) => fill(box,
  h("div.head", {}, h("h1", { text: "Overview" })),
  keyNotice(data.paused_keys),
  data.workers.some((one) => !one.lost) || !(data.queue.queued || data.queue.running) ? null
    : h("p.notice", { role: "alert", text: "Jobs wait, but no worker is running. Start one with: stt-batch worker" }),
  h("div.tiles", {},
    tile(number(data.queue.running), "running", "#/jobs?state=running"),
    tile(number(data.queue.queued + data.queue.delayed), data.queue.oldest_s >= 1 ? `waiting, oldest ${duration(data.queue.oldest_s)}` : "waiting", "#/jobs?state=queued"),
    tile(`${number(data.sessions)} / ${number(data.max_sessions)}`, "sessions in use", "#/workers"),
    tile(number(data.counts.done), "done", "#/jobs?state=done"),
    tile(number(data.counts.failed + data.counts.incomplete), "failed or incomplete", "#/failures"),
    workersTile(data.workers),
    data.queue.webhooks_dead ? tile(number(data.queue.webhooks_dead), "failed webhooks", "#/workers") : null),
  h("div.grid", {}, throughput(data.activity), ended(data.activity)));

export const overview = async (box) => {
  draw(box, await get("/console/overview"));
  return live({ overview: (data) => draw(box, data) });
};
