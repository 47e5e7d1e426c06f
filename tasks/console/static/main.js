// The frame of the console: login, navigation, and the view for the address after `#`.
import { ApiError, may, openSession, post, session, whenExpired } from "./api.js";
import { fill, h, toast } from "./dom.js";
import { batches } from "./batches.js";
import { failures } from "./failures.js";
import { fleet } from "./fleet.js";
import { job } from "./job.js";
import { jobs } from "./jobs.js";
import { overview } from "./overview.js";
import { uploads } from "./upload.js";

const byId = (id) => document.getElementById(id);
const view = byId("view");

// Path -> title, view, and who sees it. A view gets its node, the rest of the path and the query, and returns a function
// that ends its updates.
const PAGES = [
  { path: "", title: "Overview", show: overview, visible: may.seeAll },
  { path: "upload", title: "Transcribe", show: uploads, visible: may.submit },
  { path: "jobs", title: "Jobs", show: jobs, visible: () => true },
  { path: "batches", title: "Batches", show: batches, visible: may.seeAll },
  { path: "failures", title: "Failures", show: failures, visible: may.seeAll },
  { path: "workers", title: "Workers", show: fleet, visible: may.seeAll },
  { path: "job", title: "Job", show: job, visible: () => true, hidden: true },
];

let leave = () => {};
let turn = 0;

const decoded = (part) => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // an address that was typed by hand
  }
};

const route = () => {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const allowed = PAGES.filter((page) => page.visible());
  const page = allowed.find((one) => one.path === first) || allowed[0];
  return { page, rest: rest.map(decoded), query: new URLSearchParams(query) };
};

const show = async (focus) => {
  leave();
  leave = () => {};
  const mine = (turn += 1);
  if (!session.principal) return login();
  const { page, rest, query } = route();
  nav(page);
  document.title = `${page.title} · stt-batch`;
  const box = h("div");
  view.replaceChildren(box);
  try {
    const end = await page.show(box, rest, query);
    if (mine === turn) leave = end || (() => {});
    else end?.();
  } catch (error) {
    if (mine === turn && error.name !== "AbortError") problem(box, error);
  }
  if (focus && mine === turn) view.focus({ preventScroll: true });
  scrollTo(0, 0);
};

const problem = (box, error) => {
  if (!(error instanceof ApiError)) console.error(error);
  fill(box, h("p.notice", { role: "alert", text: error.message }, h("button", { type: "button", text: "Try again", onclick: () => show(true) })));
};

const nav = (current) => {
  const links = PAGES.filter((page) => page.visible() && !page.hidden)
    .map((page) => h("a", { href: `#/${page.path}`, text: page.title, "aria-current": page === current ? "page" : null }));
  links.push(h("a", { href: "/console/library", text: "Library" }));
  fill(byId("nav"), links);
  byId("nav").hidden = false;
  byId("who").textContent = session.required ? `${session.principal.name} (${session.principal.role})` : "";
  byId("logout").hidden = !session.required;
};

const login = (reason = "") => {
  byId("nav").hidden = true;
  byId("logout").hidden = true;
  byId("who").textContent = "";
  document.title = "Log in · stt-batch";
  const field = h("input", { type: "password", id: "key", name: "key", autocomplete: "current-password", required: true, spellcheck: "false", "aria-describedby": "login-error" });
  const error = h("p.error", { id: "login-error", role: "alert", text: reason });
  const form = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      await enter(field.value, error);
    },
  }, h("label", {}, "Key", field), error, h("button.primary", { type: "submit", text: "Log in" }));
  view.replaceChildren(h("section.card.login", {}, h("h1", { text: "Log in" }), h("p.soft", { text: "Use a key of this server (STT_HTTP_KEYS)." }), form));
  field.focus();
};

const enter = async (key, error) => {
  try {
    await post("/console/login", { key });
    await openSession();
    await show(true);
  } catch (failed) {
    if (error) error.textContent = failed.message;
    else login(failed.message);
  }
};

const theme = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("stt-theme", root.dataset.theme); } catch { /* lost on reload */ }
};

const start = async () => {
  try {
    const stored = localStorage.getItem("stt-theme");
    if (["dark", "light"].includes(stored)) document.documentElement.dataset.theme = stored;
  } catch { /* storage is denied */ }
  byId("theme").addEventListener("click", theme);
  byId("logout").addEventListener("click", async () => {
    try { await post("/console/logout"); } catch (error) { return toast(error.message); }
    session.principal = null;
    show(true);
  });
  addEventListener("hashchange", () => show(true));
  whenExpired(() => {
    if (!session.principal) return;
    session.principal = null;
    turn += 1; // a view that is being loaded must not take the focus from the login
    leave();
    leave = () => {};
    login("The session has ended. Log in again.");
  });
  // `stt-batch studio` opens the page with its key, which must not stay in the address or the history.
  const given = /^#key=(.+)$/.exec(location.hash);
  if (given) history.replaceState(null, "", location.pathname);
  try {
    await openSession();
  } catch (error) {
    return problem(view, error);
  }
  if (given && !session.principal) return enter(decoded(given[1]));
  show(false);
};

start();
