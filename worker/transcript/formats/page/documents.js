// -- the text for other programs: Markdown, and the file format of oTranscribe -------------------------------------------

const markdownText = (string) => string.replace(/[\\`*_{}[\]<>#|~]/g, "\\$&");

const asMarkdown = () => `# ${markdownText(about.name)}\n\n${paras.map((para) => {
  const string = paraText(para);
  const { name } = voices[para.voice];
  return string && `**${clock(para.start)}${name ? ` ${markdownText(name)}` : ""}** ${markdownText(string)}`;
}).filter(Boolean).join("\n\n")}\n`;

// oTranscribe opens a JSON file whose text is HTML. Its times are links to the moment in the audio.
const asOtr = () => JSON.stringify({
  text: paras.map((para) => {
    const string = paraText(para);
    const { name } = voices[para.voice];
    const time = `<span class="timestamp" data-timestamp="${para.start}">${clock(para.start)}</span>`;
    return string && `<p>${time}&nbsp;${name ? `<b>${safeLine(name)}:</b> ` : ""}${safeLine(string)}</p>`;
  }).filter(Boolean).join(""),
  media: about.name,
  "media-time": audio.currentTime,
});
