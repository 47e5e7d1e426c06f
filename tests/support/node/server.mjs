// The service's events, spoken by the official server. It knows no speech: it says scripted words, one per second of
// audio that is not silent, so that a client can be tested for what it sends and how it reads what comes.
//
//   node server.mjs '{"key":…, "port":0, "commit_every_s":5, "pause_s":1.5, "commit_on_stop":true}'
//
// Prints one JSON line {"url", "port"} when it listens; ends with standard input. GET /stats says what was received:
// {"sessions":[{"rate","samples","voiced","chunks","words","stopped","transport","errors"}]}
import { createServer } from "node:http";

// Trouble of its own kind, for the first `troubled` connections or sessions:
//   refuse: "allowRequest" | "use"      the two ways socket.io itself refuses
//   disconnect_at_s, kill_at_s: N       socket.disconnect(true), or the TCP connection destroyed, after N s of audio
const options = { key: "node-key", port: 0, commit_every_s: 5, pause_s: 1.5, commit_on_stop: true, troubled: 1,
  version: "", ...JSON.parse(process.argv[2] ?? "{}") };
// version: "" for the newest server, or "-2" and "-3" for old ones. Socket.IO 2 exports a function instead of a class.
const library = await import(`socket.io${options.version}`);
const Server = library.Server ?? library.default.Server ?? library.default;
const PATH = "/api/stt-realtime-socket";
const stats = [];

const http = createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  if (request.url === "/stats") return response.end(JSON.stringify({ sessions: stats }));
  response.statusCode = 404;
  response.end("{}");
});
let handshakes = 0;
const io = new Server(http, {
  path: PATH,
  maxHttpBufferSize: 4_000_000,
  allowRequest: (request, answer) =>
    answer("not now", !(options.refuse === "allowRequest" && ++handshakes <= options.troubled)),
});
let connections = 0;
io.use((socket, next) =>
  next(options.refuse === "use" && ++connections <= options.troubled ? new Error("Invalid API key") : undefined));

// allowRequest of socket.io answers a refusal with 403; the service says 401, so the answer is given before it.
const [handle] = http.listeners("request");
const [upgrade] = http.listeners("upgrade");
const refused = (request) =>
  request.url.startsWith(PATH) && !request.url.includes("sid=") && request.headers["x-api-key"] !== options.key;
const body = JSON.stringify({ error: "auth_error", message: "Unauthorized - invalid or missing API key" });
http.removeAllListeners("request").on("request", (request, response) => {
  if (!refused(request)) return handle(request, response);
  response.writeHead(401, { "content-type": "application/json" }).end(body);
});
http.removeAllListeners("upgrade").on("upgrade", (request, socket, head) => {
  if (!refused(request)) return upgrade(request, socket, head);
  socket.end(`HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`);
});

class Session {
  constructor(socket, rate) {
    this.socket = socket;
    this.rate = rate;
    this.voicedSeconds = []; // seconds of the session (whole numbers) that hold sound and are not committed
    this.committedTo = 0; // seconds
    this.lastVoice = null; // seconds
    this.facts = { rate, samples: 0, voiced: 0, chunks: 0, words: 0, stopped: false,
      transport: socket.conn.transport.name, errors: [] };
    stats.push(this.facts);
    socket.emit("session-started");
    this.say({ message_type: "session_started", session_id: `node-${stats.length}`,
      config: { sample_rate: rate, commit_on_stop: options.commit_on_stop } });
  }

  say(message) { this.socket.emit("transcript-message", message); }

  error(text) {
    this.facts.errors.push(text);
    this.socket.emit("session-error", { error: text });
  }

  take({ audio_base_64: text, sample_rate: rate } = {}) {
    if (typeof text !== "string" || rate !== this.rate) return this.error("input_error: audio_base_64 or sample_rate");
    const pcm = Buffer.from(text, "base64");
    if (pcm.length % 2) return this.error("input_error: odd number of bytes");
    this.facts.chunks += 1;
    for (let at = 0; at < pcm.length; at += 2) {
      const now = this.facts.samples / this.rate;
      if (Math.abs(pcm.readInt16LE(at)) > 100) {
        this.facts.voiced += 1;
        this.lastVoice = now;
        if (this.voicedSeconds.at(-1) !== Math.floor(now)) this.voicedSeconds.push(Math.floor(now));
      }
      this.facts.samples += 1;
      const end = this.facts.samples / this.rate;
      const paused = this.voicedSeconds.length > 0 && end - this.lastVoice >= options.pause_s;
      if (paused || this.voicedSeconds.length > options.commit_every_s) this.commit(paused ? Infinity : Math.floor(now));
    }
    if (stats.length <= options.troubled) this.trouble(this.facts.samples / this.rate);
    this.say({ message_type: "partial_transcript", text: this.voicedSeconds.map((n) => `word${n}`).join(" ") });
  }

  trouble(heard) {
    if (heard > options.disconnect_at_s) this.socket.disconnect(true);
    if (heard > options.kill_at_s) this.socket.request.socket.destroy();
  }

  commit(before) {
    const seconds = this.voicedSeconds.filter((n) => n < before);
    this.voicedSeconds = this.voicedSeconds.filter((n) => n >= before);
    if (seconds.length === 0) return;
    const words = [];
    for (const n of seconds) {
      if (words.length) words.push({ text: " ", start: words.at(-1).end, end: n + 0.1, type: "spacing", logprob: 0 });
      words.push({ text: `word${n}`, start: n + 0.1, end: n + 0.9, type: "word", logprob: -0.1 });
    }
    const text = words.map((word) => word.text).join("");
    this.facts.words += seconds.length;
    this.say({ message_type: "committed_transcript", text });
    this.say({ message_type: "committed_transcript_with_timestamps", text, language_code: "en", words });
    this.say({ message_type: "partial_transcript", text }); // the service echoes it once
  }

  stop() {
    this.facts.stopped = true;
    if (options.commit_on_stop) this.commit(Infinity);
    this.socket.emit("session-closed", { code: 1000, reason: "stopped by the client" });
  }
}

io.on("connection", (socket) => {
  let session = null;
  socket.on("start-session", ({ sampleRate } = {}) => { session = new Session(socket, sampleRate); });
  socket.on("audio-chunk", (payload) => {
    if (session) session.take(payload);
    else socket.emit("session-error", { error: "invalid_request: audio came before start-session" });
  });
  socket.on("stop-session", () => {
    session?.stop();
    session = null;
  });
});

http.listen(options.port, "127.0.0.1", () => {
  const { port } = http.address();
  process.stdout.write(JSON.stringify({ url: `http://127.0.0.1:${port}`, port }) + "\n");
});
// No server survives the test that started it.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
