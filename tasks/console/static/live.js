// One stream of events for the whole page: `overview` every two seconds, and `jobs` with the ids of changed jobs.
import { follow } from "./api.js";

const listeners = { overview: new Set(), jobs: new Set() };
let end = null;
let users = 0;

const tell = (name) => (data) => { for (const listener of listeners[name]) listener(data); };

// Calls the handlers until the returned function is called.
export const live = (handlers) => {
  for (const [name, handle] of Object.entries(handlers)) listeners[name].add(handle);
  users += 1;
  end ||= follow("/console/events", { overview: tell("overview"), jobs: tell("jobs") }, (connected) => {
    document.getElementById("live").textContent = connected ? "" : "Connecting…";
  });
  return () => {
    for (const [name, handle] of Object.entries(handlers)) listeners[name].delete(handle);
    users -= 1;
    if (!users) {
      end();
      end = null;
      document.getElementById("live").textContent = "";
    }
  };
};

// Limits calls to one in `ms` milliseconds; the last one always runs.
export const limited = (run, ms) => {
  let timer = 0;
  let last = 0;
  const limit = () => {
    if (timer) return;
    const wait = Math.max(0, last + ms - Date.now());
    timer = setTimeout(() => {
      timer = 0;
      last = Date.now();
      run();
    }, wait);
  };
  limit.stop = () => clearTimeout(timer);
  return limit;
};
