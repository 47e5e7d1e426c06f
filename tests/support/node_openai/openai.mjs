// Calls of the official client of OpenAI. One JSON line per call on standard output: its name, and its result or error.
//
//   node openai.mjs '{"url":…, "key":…, "reader":…, "file":…, "long":…, "garbage":…, "other":…}'
//
// `file`: short audio. `long`: audio above the limit of the server. `garbage`: a file that is no audio. `other`: audio
// whose job fails. `reader`: a key that may not submit.
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const options = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: `${options.url}/v1`, apiKey: options.key, maxRetries: 0, timeout: 60_000 });
const say = (call, data) => process.stdout.write(JSON.stringify({ call, ...data }) + "\n");
setTimeout(() => process.exit(4), 120_000).unref();

async function attempt(call, work) {
  try {
    say(call, { result: await work() });
  } catch (error) {
    say(call, { error: error.constructor.name, status: error.status, code: error.code, param: error.param,
      message: error.message });
  }
}
const create = (file, more = {}, using = client) =>
  using.audio.transcriptions.create({ file: createReadStream(file), model: "whisper-1", language: "en", ...more });
async function streamed(file) {
  const events = [];
  for await (const event of await create(file, { stream: true })) events.push(event);
  return events;
}

await attempt("json", async () => (await create(options.file, { prompt: "ignored", temperature: 0 })).text);
for (const format of ["text", "srt", "vtt"]) {
  await attempt(format, () => create(options.file, { response_format: format }));
}
await attempt("verbose", () => create(options.file, { response_format: "verbose_json", timestamp_granularities: ["word", "segment"] }));
await attempt("stream", () => streamed(options.file));
await attempt("models", async () => (await client.models.list()).data.map((model) => model.id));
await attempt("model", async () => (await client.models.retrieve("whisper-1")).id);
await attempt("no_model", () => client.models.retrieve("no-such-model"));
await attempt("bad_format", () => create(options.file, { response_format: "xml" }));
await attempt("bad_granularity", () => create(options.file, { timestamp_granularities: ["word"] }));
await attempt("too_long", () => create(options.long));
await attempt("garbage", () => create(options.garbage));
await attempt("failed", () => create(options.other));
await attempt("failed_stream", () => streamed(options.other));
const using = (apiKey) => new OpenAI({ baseURL: `${options.url}/v1`, apiKey, maxRetries: 0 });
await attempt("wrong_key", () => using("wrong").models.list());
await attempt("reader", () => create(options.file, {}, using(options.reader)));
