// The flow of the service's API page with the official client. One JSON line per event on standard output.
//
//   node client.mjs '{"url":…, "key":…, "transports":["websocket"]|null, "pcm":"file.s16le", "rate":16000,
//                     "chunk_s":0.5, "pause_ms":0, "sessions":1, "token":…, "origin":…, "module":"socket.io-client"}'
//
// Ends with 0 after the last session-closed, with 3 when the connection is refused, with 4 after 60 s.
import { readFileSync } from "node:fs";

const options = { key: null, transports: null, pcm: null, rate: 16000, chunk_s: 0.5, pause_ms: 0, sessions: 1,
  token: null, origin: null, module: "socket.io-client",
  ...JSON.parse(process.argv[2]) };
const library = await import(options.module);
const io = library.io ?? library.default; // version 2 is a function
const say = (event, data) => process.stdout.write(JSON.stringify({ event, ...data }) + "\n");
const leave = (code) => process.stdout.write("", () => process.exit(code));
setTimeout(() => leave(4), 60_000).unref();

const socket = io(options.url, {
  path: "/api/stt-realtime-socket",
  extraHeaders: {
    ...(options.key === null ? {} : { "x-api-key": options.key }),
    ...(options.origin === null ? {} : { Origin: options.origin }),
  },
  ...(options.token === null ? {} : { auth: { token: options.token } }),
  ...(options.transports === null ? {} : { transports: options.transports }),
  reconnection: false,
});
let left = options.sessions;

socket.io.on("open", () => {
  const engine = socket.io.engine;
  say("open", { transport: engine.transport.name });
  engine.on("upgrade", (transport) => say("upgrade", { transport: transport.name }));
});

socket.on("connect", () => {
  say("connect", {});
  socket.emit("start-session", { sampleRate: options.rate });
});

socket.on("connect_error", (error) => {
  // Polling gives the status, websocket only a text; the body is what the server says.
  const context = error.context ?? {};
  say("connect_error", {
    message: error.message,
    status: typeof error.description === "number" ? error.description : null,
    detail: error.description?.message ?? error.description?.error?.message ?? null,
    body: context.responseText ?? null,
  });
  leave(3);
});

socket.on("session-started", async (...payload) => {
  say("session-started", { payload });
  const pcm = options.pcm === null ? Buffer.alloc(0) : readFileSync(options.pcm);
  const size = Math.round(options.chunk_s * options.rate) * 2;
  for (let at = 0; at < pcm.length; at += size) {
    const chunk = pcm.subarray(at, at + size).toString("base64");
    socket.emit("audio-chunk", { audio_base_64: chunk, sample_rate: options.rate });
    if (options.pause_ms > 0) await new Promise((resolve) => setTimeout(resolve, options.pause_ms));
  }
  socket.emit("stop-session");
});

socket.on("transcript-message", (message) => say("transcript-message", { message }));
socket.on("session-error", (data) => say("session-error", data));

socket.on("session-closed", (data) => {
  say("session-closed", data);
  left -= 1;
  if (left > 0) return socket.emit("start-session", { sampleRate: options.rate });
  socket.disconnect();
  leave(0);
});
