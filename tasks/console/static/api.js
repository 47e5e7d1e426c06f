// Talks to the server of this page. The session cookie identifies the user; changes also carry the token of the session.
export const session = { required: false, principal: null, csrf: "", uploads: false };

export const may = {
  submit: () => Boolean(session.principal) && session.principal.role !== "read",
  operate: () => session.principal?.role === "operate",
  seeAll: () => Boolean(session.principal) && session.principal.role !== "submit",
};

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let onExpired = () => {};
export const whenExpired = (call) => { onExpired = call; };

const failure = async (answer) => {
  let detail = `${answer.status} ${answer.statusText}`;
  try {
    detail = (await answer.json()).detail || detail;
  } catch { /* not a problem document, for example from a proxy */ }
  if (answer.status === 401) onExpired();
  return new ApiError(answer.status, String(detail));
};

export const call = async (path, { method = "GET", body, signal } = {}) => {
  const headers = { accept: "application/json" };
  if (method !== "GET") headers["x-csrf-token"] = session.csrf;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the server does not answer; check that it runs");
  }
  if (!answer.ok) throw await failure(answer);
  return answer.status === 204 ? null : answer.json();
};

export const get = (path, signal) => call(path, { signal });
export const post = (path, body) => call(path, { method: "POST", body });

export const openSession = async () => {
  Object.assign(session, await get("/console/session"));
  return session;
};

// Uploads one file with XMLHttpRequest, because fetch reports no progress of an upload.
export const upload = (file, options, onProgress) => new Promise((resolve, reject) => {
  const form = new FormData();
  form.append("job", JSON.stringify(options));
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  request.open("POST", "/v1/jobs");
  request.setRequestHeader("x-csrf-token", session.csrf);
  request.upload.addEventListener("progress", (event) => onProgress(event.total ? event.loaded / event.total : 0));
  request.addEventListener("error", () => reject(new ApiError(0, "the upload was cut off; try again")));
  request.addEventListener("load", () => {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* reported below */ }
    if (request.status === 401) onExpired();
    if (request.status < 300) resolve(answer);
    else reject(new ApiError(request.status, answer.detail || `the upload failed with ${request.status}`));
  });
  request.send(form);
});

// Follows a stream of events. EventSource reconnects by itself and sends Last-Event-ID. Returns a function that ends it.
export const follow = (path, handlers, onState = () => {}) => {
  const source = new EventSource(path);
  source.addEventListener("open", () => onState(true));
  source.addEventListener("error", () => onState(false));
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      let data = null;
      try { data = JSON.parse(event.data); } catch { return; }
      handle(data, () => source.close());
    });
  }
  return () => source.close();
};

export const jobUrl = (id, rest = "") => `/v1/jobs/${encodeURIComponent(id)}${rest}`;
