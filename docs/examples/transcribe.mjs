// Uploads recordings to stt-batch, prints their text while it is transcribed, and writes subtitles beside them.
// Needs Node.js 20 or later and no library.
//
//   STT_API=http://127.0.0.1:8080 STT_KEY=… node transcribe.mjs call.wav interview.mp3
import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";

const api = process.env.STT_API ?? "http://127.0.0.1:8080";
const headers = { authorization: `Bearer ${process.env.STT_KEY ?? ""}` };
const TRIES = 10;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Sends a request. Waits and tries again while the server is busy (429) or cannot work (503).
async function request(path, make = () => ({})) {
  for (let attempt = 1; ; attempt += 1) {
    let wait = attempt;
    try {
      const options = make();
      const answer = await fetch(api + path, { ...options, headers: { ...headers, ...options.headers } });
      if (answer.ok) return answer;
      const problem = await answer.json();
      if (![429, 503].includes(answer.status) || attempt === TRIES) throw new Error(`${problem.code}: ${problem.detail}`);
      wait = Number(answer.headers.get("retry-after") ?? attempt);
    } catch (error) {
      if (!(error instanceof TypeError) || attempt === TRIES) throw error; // TypeError: no connection
    }
    await pause(wait);
  }
}

async function upload(file) {
  const blob = await openAsBlob(file); // streamed from the disk
  const answer = await request("/v1/jobs", () => {
    const body = new FormData();
    body.append("file", blob, basename(file));
    return { method: "POST", body };
  });
  return answer.json();
}

// Yields the server-sent events of a job. After a broken connection it continues after the last event with an id.
async function* events(job) {
  let last = "";
  for (;;) {
    const answer = await request(`/v1/jobs/${job}/events`, () => ({ headers: last ? { "last-event-id": last } : {} }));
    if (answer.status === 204) return;
    let text = "";
    try {
      for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
        text += part;
        const blocks = text.split("\n\n");
        text = blocks.pop(); // not complete yet
        for (const block of blocks) {
          const field = (name) => block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
          if (!field("data")) continue; // a comment
          last = field("id") ?? last;
          yield { name: field("event"), data: JSON.parse(field("data")) };
          if (field("event") === "end") return;
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await pause(1);
  }
}

async function transcribe(file) {
  const { id } = await upload(file);
  let end;
  for await (const event of events(id)) {
    if (event.name === "commit") console.log(`${basename(file)} ${event.data.start.toFixed(2)} ${event.data.text}`);
    if (event.name === "error") throw new Error(event.data.detail);
    if (event.name === "end") end = event.data;
  }
  if (end.state !== "done" && end.state !== "incomplete") throw new Error(`${end.state}: ${end.error ?? ""}`);
  const subtitles = await request(`/v1/jobs/${id}/transcript?format=srt`);
  await writeFile(`${file}.srt`, await subtitles.text());
}

const results = await Promise.allSettled(process.argv.slice(2).map(transcribe));
for (const [number, result] of results.entries()) {
  if (result.status === "rejected") console.error(`${process.argv[2 + number]}: ${result.reason.message}`);
}
process.exitCode = results.some((result) => result.status === "rejected") ? 1 : 0;
