// -- saving corrections: a draft in the browser, a file, or the server ---------------------------------------------------

const DRAFT = `stt-draft:${about.job}:${about.sha256.slice(0, 16)}:${about.created}`;
const STEM = about.name.replace(/\.[^.]{1,5}$/, "") || "transcript";
let base = about.base; // the last revision that the page contained when it was loaded
let etag = about.server?.etag;
let draftTimer = 0;
let draftStored = true;
let saving = false; // whether a request of this page is under way

const revisionFile = (revisions) => ({
  kind: "stt-batch revisions", schema_version: 1, job_id: about.job, source_name: about.name,
  source_sha256: about.sha256, transcript_created_at: about.created, base, revisions,
});

// Stores the corrections in the browser, so that they survive a closed tab.
const storeDraft = () => {
  const now = pendingRevision();
  const empty = !now && !saved.length;
  draftStored = stored(DRAFT, empty ? null : JSON.stringify({ saved, now })) !== null || empty;
};
const keepDraft = () => {
  clearTimeout(draftTimer);
  draftTimer = setTimeout(storeDraft, 300);
};
const openDraft = () => {
  const draft = stored(DRAFT);
  if (!draft) return;
  try {
    const { saved: earlier, now } = JSON.parse(draft);
    for (const revision of earlier || []) takeSaved(revision);
    if (now && !known.has(now.id)) {
      applyRevision(now);
      tell("Corrections that were not saved have been restored");
    }
  } catch {
    stored(DRAFT, null); // damaged, or of another version of this page
  }
};

// Applies a revision that was saved before, or comes from a file, and settles on it.
const takeSaved = (revision) => {
  if (known.has(revision.id)) return false;
  known.add(revision.id);
  applyRevision(revision);
  settle();
  saved.push(revision);
  return true;
};

const download = (name, type, content) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

const settlePending = () => {
  const revision = pendingRevision();
  if (!revision) return;
  saved.push(revision);
  known.add(revision.id);
  settle();
};

const saveFile = () => {
  stopFixing(true);
  settlePending();
  if (!saved.length) return tell("There are no corrections to save");
  download(`${STEM}.edits.json`, "application/json", `${JSON.stringify(revisionFile(saved), null, 2)}\n`);
  storeDraft();
  showChanges();
  return tell(`Saved ${STEM}.edits.json. Apply it with: stt-batch apply ${STEM}.edits.json FOLDER`);
};

const saveToServer = async () => {
  stopFixing(true);
  // A second request would be refused, because the first one changes the version of the transcript.
  if (saving) return tell("The corrections are being saved");
  const revision = pendingRevision();
  const state = snapshot();
  const before = saved.length;
  const revisions = revision ? [...saved, revision] : [...saved];
  if (!revisions.length) return tell("There are no corrections to save");
  saving = true;
  try {
    const answer = await fetch(about.server.url, {
      method: "PATCH",
      headers: { ...about.server.headers, "Content-Type": "application/json", "If-Match": etag },
      body: JSON.stringify(revisionFile(revisions)),
      credentials: "same-origin",
      signal: AbortSignal.timeout(30000),
    });
    if (answer.status === 412 || answer.status === 409) return conflict();
    if (!answer.ok) return tell(`The server did not save the corrections: HTTP ${answer.status}. They stay in this browser.`);
    etag = answer.headers.get("ETag") || etag;
  } catch {
    return tell("The server does not answer. The corrections stay in this browser; save again later.");
  } finally {
    saving = false;
  }
  // Changes made while the request was under way stay unsaved.
  if (revision) {
    known.add(revision.id);
    settle(state);
  }
  base = revisions[revisions.length - 1].id;
  saved.splice(0, before);
  storeDraft();
  showChanges();
  return tell("Saved");
};
const conflict = () => {
  storeDraft();
  byId("conflict").showModal();
};
const save = () => (about.server ? saveToServer() : saveFile());

const openEdits = async (file) => {
  let found;
  try {
    found = JSON.parse(await file.text());
  } catch {
    return tell(`${file.name} is not a file of corrections`);
  }
  if (found?.kind !== "stt-batch revisions" || !Array.isArray(found.revisions)) return tell(`${file.name} is not a file of corrections`);
  if (found.source_sha256 !== about.sha256 || found.transcript_created_at !== about.created) return tell(`${file.name} belongs to another transcript: ${found.source_name || "unknown"}`);
  if (countPending()) settlePending();
  const count = found.revisions.filter((revision) => typeof revision?.id === "string" && takeSaved(revision)).length;
  showChanges();
  keepDraft();
  return tell(count ? `Opened ${count} ${count === 1 ? "revision" : "revisions"}` : "These corrections are already in this page");
};

const startSaving = () => {
  byId("save").addEventListener("click", save);
  byId("save-file").addEventListener("click", saveFile);
  byId("open-edits").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) openEdits(file);
  });
  byId("conflict-file").addEventListener("click", () => { byId("conflict").close(); saveFile(); });
  byId("conflict-reload").addEventListener("click", () => location.reload());
  byId("conflict-close").addEventListener("click", () => byId("conflict").close());
  byId("editor").value = stored("stt-editor") || "";
  byId("editor").addEventListener("change", (event) => stored("stt-editor", event.target.value.trim()));
  addEventListener("pagehide", storeDraft);
  addEventListener("beforeunload", (event) => {
    stopFixing(true);
    storeDraft();
    if (countPending() && !draftStored) event.preventDefault();
  });
  openDraft();
};
