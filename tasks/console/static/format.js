// Formats numbers and times for people.
const two = (n) => String(n).padStart(2, "0");

export const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return (hours ? `${hours}:${two(minutes)}` : String(minutes)) + ":" + two(whole % 60);
};

export const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
};

export const ago = (at) => {
  const seconds = Date.now() / 1000 - at;
  return seconds < 5 ? "now" : `${duration(seconds)} ago`;
};

export const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
export const number = (n) => Number(n || 0).toLocaleString("en");
export const speed = (x) => (x === null || x === undefined ? "" : `${x < 10 ? x.toFixed(1) : Math.round(x)}×`);
export const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
// The file name of a source. Only in URLs, the path ends at `?` or `#`.
export const name = (source) => String(source || "").replace(/^(https?:[^?#]*).*$/i, "$1").replace(/\/+$/, "").split("/").pop() || source || "(no name)";
export const when = (at) => (at ? new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "");
