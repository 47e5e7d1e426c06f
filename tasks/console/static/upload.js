// Uploads by drag and drop or by choice: files and whole folders, options, and the text while it is committed.
import { get, jobUrl, session, upload } from "./api.js";
import { bar, fill, h, state, svg, toast } from "./dom.js";
import { clock, count, name, size } from "./format.js";
import { followJob } from "./job.js";

const AT_ONCE = 3;
const MAX_FILES = 10000;
const MAX_FOLLOWED = 4;  // a browser opens six connections to a server
const MEDIA = /\.(wav|wave|flac|mp3|m4a|mp4|m4b|mov|mkv|webm|ogg|oga|opus|aac|ac3|amr|aif|aiff|aifc|au|snd|caf|wma|wmv|avi|mpg|mpeg|ts|mts|3gp|w64|rf64|spx|mka)$/i;

// Items live outside of the view, so uploads continue while a person looks at another page.
const items = [];
const waiting = [];
let running = 0;
let followed = 0;
let list = null;

const draw = () => {
  if (!list) return;
  for (const item of items) if (!item.node.isConnected) list.prepend(item.node);
};

const shown = (item) => fill(item.node,
  h("header", {}, item.job ? h("a", { href: `#/job/${encodeURIComponent(item.job.id)}`, text: item.name }) : h("b", { text: item.name }), h("span.soft.small", { text: size(item.file.size) }), item.error ? h("span.state.failed", { text: "not sent" }) : item.job ? state(item.job) : h("span.soft.small", { text: item.sent === null ? "waits" : `${Math.round(item.sent * 100)} % sent` })),
  item.error ? h("p.error", { text: item.error }, " ", h("button.plain", { type: "button", text: "Try again", onclick: () => again(item) })) : null,
  !item.job && item.sent !== null && !item.error ? bar(item.sent, `Upload of ${item.name}`) : null,
  item.job?.state === "running" && item.total ? bar(item.done / item.total, `Transcription of ${item.name}`) : null,
  item.total && item.job?.state === "running" ? h("span.soft.small", { text: `${clock(item.done)} of ${clock(item.total)}` }) : null,
  item.job?.error ? h("p.error", { text: item.job.error }) : null,
  item.text || item.partial ? h("p.text", { lang: item.language || null }, item.text, h("span.partial", { text: item.partial ? ` ${item.partial}` : "" })) : null);

const again = (item) => {
  Object.assign(item, { error: "", sent: null });
  waiting.push(item);
  shown(item);
  pump();
};

const hasEnded = (item) => !["queued", "running"].includes(item.job.state);

// Reads the job of an item. A job that was deleted has ended.
const reread = async (item) => {
  try {
    item.job = await get(jobUrl(item.job.id));
  } catch (error) {
    if (error.status !== 404) return; // the next poll tries again
    item.job = { ...item.job, state: "cancelled", error: error.message };
  }
  item.total = item.job.duration_s || item.total;
};

// Items that are not followed, because there are too many. Their jobs are read one after the other.
const unfollowed = [];
let asking = false;
const askInTurn = async () => {
  if (asking) return;
  asking = true;
  while (unfollowed.length) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(100, 2000 / unfollowed.length)));
    const item = unfollowed.shift();
    await reread(item);
    shown(item);
    watch(item);
  }
  asking = false;
};

const watch = (item) => {
  if (hasEnded(item)) return;
  if (followed >= MAX_FOLLOWED) {
    unfollowed.push(item);
    askInTurn();
    return;
  }
  followed += 1;
  let open = true;
  const close = (end) => {
    if (!open) return;
    open = false;
    followed -= 1;
    end();
  };
  const timer = setInterval(() => refresh(), 3000);
  const end = followJob(item.job.id, {
    onJob: () => refresh(),
    onProgress: (data) => {
      item.done = Number(data.committed_s || 0);
      item.total = Number(data.duration_s || 0) || item.total;
      if (data.partial !== undefined) item.partial = data.partial;
      shown(item);
    },
    onCommit: (segment) => {
      item.text += (item.text ? " " : "") + segment.text;
      item.partial = "";
      item.language = segment.language || item.language;
      shown(item);
    },
  });
  const refresh = async () => {
    await reread(item);
    if (hasEnded(item)) {
      item.partial = "";
      clearInterval(timer);
      close(end);
    }
    shown(item);
  };
};

const pump = () => {
  while (running < AT_ONCE && waiting.length) {
    const item = waiting.shift();
    running += 1;
    item.sent = 0;
    shown(item);
    upload(item.file, item.options, (part) => { item.sent = part; shown(item); })
      .then((answer) => {
        item.job = answer.jobs ? answer.jobs[0] : answer;
        item.job.source ||= item.name;
        shown(item);
        watch(item);
      })
      .catch((error) => { item.error = error.message; shown(item); })
      .finally(() => { running -= 1; pump(); });
  }
};

// Yields the files of dropped items, also those in folders.
const walk = async (entry, path = "") => {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: path + file.name }];
  }
  const found = [];
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    for (const one of some) found.push(...await walk(one, `${path}${entry.name}/`));
  }
};

export const uploads = async (box) => {
  if (!session.uploads) {
    fill(box, h("div.head", {}, h("h1", { text: "Transcribe" })), h("p.notice", { text: "This server accepts no uploads. Set STT_UPLOADS to a folder or s3://bucket/prefix that the workers can read." }));
    return null;
  }
  const files = h("input.sr", { type: "file", id: "files", multiple: true, tabindex: "-1", "aria-hidden": "true" });
  const folder = h("input.sr", { type: "file", id: "folder", multiple: true, tabindex: "-1", "aria-hidden": "true" });
  folder.webkitdirectory = true;
  const language = h("input", { type: "text", id: "language", placeholder: "en, yue, zh …", autocomplete: "off", maxlength: "35" });
  const batch = h("input", { type: "text", id: "upload-batch", placeholder: "for several files", autocomplete: "off", maxlength: "200" });
  const channels = h("select", { id: "channels" }, h("option", { value: "mix", text: "mixed into one" }), h("option", { value: "split", text: "each by itself" }));
  const priority = h("select", { id: "priority" }, ...["high", "normal", "low"].map((value) => h("option", { value, text: value, selected: value === "normal" })));
  const silence = h("input", { type: "checkbox", id: "silence" });

  const add = (found) => {
    const media = found.filter(({ file }) => file.type.startsWith("audio/") || file.type.startsWith("video/") || MEDIA.test(file.name));
    const other = found.length - media.length;
    if (other) toast(`${count(other, "file")} left out: neither audio nor video`);
    if (media.length > MAX_FILES) toast(`only the first ${MAX_FILES} files are taken`);
    const options = { channels: channels.value, priority: priority.value };
    if (language.value.trim()) options.language = language.value.trim();
    if (silence.checked) options.skip_silence = true;
    const several = media.length > 1 ? `upload-${new Date().toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "")}` : "";
    const name_ = batch.value.trim() || several;
    if (name_) options.batch = name_;
    for (const { file, path } of media.slice(0, MAX_FILES)) {
      const item = { file, name: path, options, sent: null, job: null, text: "", partial: "", done: 0, total: 0, error: "", node: h("article.upload", { "aria-label": name(path) }) };
      items.push(item);
      waiting.push(item);
      shown(item);
    }
    draw();
    pump();
  };
  const chosen = (event) => {
    add([...event.target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    event.target.value = "";
  };
  files.addEventListener("change", chosen);
  folder.addEventListener("change", chosen);
  const drop = h("div.drop", {
    ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
    ondragleave: () => drop.classList.remove("over"),
    ondrop: async (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      const plain = [...event.dataTransfer.files];
      try {
        add(entries.length ? (await Promise.all(entries.map((entry) => walk(entry)))).flat() : plain.map((file) => ({ file, path: file.name })));
      } catch (error) {
        toast(`the files cannot be read: ${error.message}`);
      }
    },
  },
  svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("path", { d: "M10 13V3.5m0 0L6 7.5m4-4 4 4M3.5 12.5v2.8c0 .7.5 1.2 1.2 1.2h10.6c.7 0 1.2-.5 1.2-1.2v-2.8" })),
  h("p", { text: "Drop recordings or a folder here" }),
  h("div.actions", {}, h("button.primary", { type: "button", text: "Choose files", onclick: () => files.click() }), h("button", { type: "button", text: "Choose a folder", onclick: () => folder.click() })),
  files, folder);
  list = h("div.uploads", { id: "uploads" });
  box.replaceChildren(h("div.head", {}, h("h1", { text: "Transcribe" })), drop,
    h("details", {}, h("summary", { text: "Options" }), h("div.options", {},
      h("label", {}, "Language", language), h("label", {}, "Batch", batch), h("label", {}, "Channels", channels), h("label", {}, "Priority", priority), h("label.check", {}, silence, "Skip silence"))), list);
  draw();
  return () => { list = null; };
};

addEventListener("beforeunload", (event) => { if (running || waiting.length) event.preventDefault(); });
// A file that misses the drop zone must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
