// -- the panel to copy, save and print ---------------------------------------------------------------------------------

// Copies a text. Pages that were opened over http:// on another machine have no clipboard interface.
const copy = async (string, message) => {
  try {
    await navigator.clipboard.writeText(string);
  } catch {
    const area = document.createElement("textarea");
    area.value = string;
    area.className = "sr";
    byId("share-panel").append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return tell("The browser does not allow this page to copy");
  }
  return tell(message);
};

const momentLink = () => `${location.href.split("#")[0]}#t=${Math.round(audio.currentTime * 100) / 100}`;
const copyLink = () => copy(momentLink(), `Copied the link to ${clock(audio.currentTime)}`);

const panels = { "share-panel": "share", keys: "help" }; // each panel and its button
const showPanel = (name, open) => {
  for (const [panel, button] of Object.entries(panels)) {
    const shown = panel === name && open;
    byId(panel).hidden = !shown;
    byId(button).setAttribute("aria-expanded", String(shown));
  }
};
const togglePanel = (name) => showPanel(name, byId(name).hidden);

const startSharing = () => {
  const actions = {
    "copy-text": () => copy(asText(false), "Copied the text"),
    "copy-times": () => copy(asText(true), "Copied the text with times"),
    "copy-link": copyLink,
    "save-srt": () => download(`${STEM}.srt`, "application/x-subrip", asSrt()),
    "save-vtt": () => download(`${STEM}.vtt`, "text/vtt", asVtt()),
    "save-txt": () => download(`${STEM}.txt`, "text/plain", asText(false)),
    "save-md": () => download(`${STEM}.md`, "text/markdown", asMarkdown()),
    "save-otr": () => download(`${STEM}.otr`, "application/json", asOtr()),
    "print": () => print(),
  };
  for (const [id, action] of Object.entries(actions)) {
    byId(id).addEventListener("click", () => {
      stopFixing(true);
      action();
      showPanel("share-panel", false);
    });
  }
  byId("share").addEventListener("click", () => togglePanel("share-panel"));
  byId("help").addEventListener("click", () => togglePanel("keys"));
  addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#keys, #help, #share-panel, #share")) showPanel("", false);
  });
};
