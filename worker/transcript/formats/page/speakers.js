// -- names of speakers -------------------------------------------------------------------------------------------------

let asked = null; // the paragraph whose speaker is being named

const askSpeaker = (para) => {
  stopFixing(true);
  asked = para;
  const { name } = voices[para.voice];
  const same = paras.filter((other) => other.voice === para.voice).length;
  byId("speaker-name").value = name;
  byId("speaker-all-text").textContent = name
    ? `in all ${same} paragraphs of “${name}”`
    : `in all ${same} paragraphs without a name`;
  byId("speaker-all").checked = true;
  byId("speaker-names").replaceChildren(...[...new Set(voices.map((voice) => voice.name))].filter(Boolean).map((known_) => {
    const option = document.createElement("option");
    option.value = known_;
    return option;
  }));
  byId("speaker").showModal();
  byId("speaker-name").select();
};

const nameSpeaker = () => {
  const name = byId("speaker-name").value.trim().slice(0, 200);
  const para = asked;
  byId("speaker").close();
  if (!para || name === voices[para.voice].name) return;
  const everywhere = byId("speaker-all").checked;
  const other = voices.findIndex((voice, k) => voice.name === name && k !== para.voice);
  if (everywhere && other < 0) {
    change([], [[para.voice, name]]);
    return;
  }
  // The name of another speaker, or of this paragraph alone: the paragraphs change to that speaker.
  const voice = voiceNamed(name);
  const here = everywhere ? paras.filter((one) => one.voice === para.voice) : [para];
  change(here.flatMap((one) => one.segs.map((seg) => [seg, { voice }])));
};

const startSpeakers = () => {
  byId("speaker-ok").addEventListener("click", nameSpeaker);
  byId("speaker-cancel").addEventListener("click", () => byId("speaker").close());
  byId("speaker").addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key !== "Enter" || event.isComposing || event.target.closest("button")) return;
    event.preventDefault();
    nameSpeaker();
  });
};
