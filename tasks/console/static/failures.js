// Failed and incomplete jobs, grouped by reason, with a retry of a whole group.
import { get, may, post } from "./api.js";
import { fill, h, toast } from "./dom.js";
import { count, number } from "./format.js";
import { limited, live } from "./live.js";

export const failures = async (box) => {
  const retry = async (group, button) => {
    button.disabled = true;
    try {
      const answer = await post("/console/failures/retry", { code: group.code, reason: group.reason });
      toast(`${count(answer.retried, "job")} queued again`);
    } catch (error) {
      toast(error.message);
    }
    button.disabled = false;
    await refresh(true);
  };
  const one = (group) => {
    const button = h("button", { type: "button", id: `retry-${group.code}-${group.reason}`, text: `Retry ${number(group.count)}`, "aria-label": `Retry ${count(group.count, "job")}: ${group.shown}` });
    button.addEventListener("click", () => retry(group, button));
    return h("tr", {},
      h("td.num", { "data-label": "jobs", text: number(group.count) }),
      h("td", {}, h("b", { text: group.shown }), h("span.why", { text: group.code }),
        h("details.small", {}, h("summary", { text: "Jobs" }), h("ul", {}, ...group.examples.map((job) => h("li", {}, h("a", { href: `#/job/${encodeURIComponent(job.id)}`, text: job.name })))))),
      may.operate() ? h("td.fit", {}, button) : null);
  };
  const isRead = () => box.querySelector("details[open]") !== null;
  const load = async (force = false) => {
    if (isRead() && !force) return;
    const found = await get("/console/failures");
    if (isRead() && !force) return;
    fill(box, h("div.head", {}, h("h1", { text: "Failures" }), h("span.soft", { text: count(found.total, "job") })),
      found.total > found.read ? h("p.notice", { text: `Only the newest ${number(found.read)} are grouped here.` }) : null,
      found.groups.length
        ? h("div.table", {}, h("table.stack", {}, h("thead", {}, h("tr", {}, h("th.num", { scope: "col", text: "Jobs" }), h("th", { scope: "col", text: "Reason" }), may.operate() ? h("th", { scope: "col" }, h("span.sr", { text: "Actions" })) : null)), h("tbody", {}, ...found.groups.map(one))))
        : h("p.empty", { text: "No job has failed." }));
  };
  const refresh = (force) => load(force).catch((error) => toast(error.message));
  await load();
  const again = limited(refresh, 4000);
  const end = live({ jobs: again });
  return () => { end(); again.stop(); };
};
