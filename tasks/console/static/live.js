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

// Limits calls to one in `ms` milliseconds, and to a tenth of the time if a call takes long; the last one always runs.
export const limited = (run, ms) => {
  let timer = 0;
  let next = 0;
  let wanted = false; // whether there was a call since the last run began
  let stopped = false;
  const limit = () => {
    wanted = true;
    if (timer || stopped) return;
    timer = setTimeout(async () => {
      const began = Date.now();
      wanted = false;
      try {
        await run();
      } finally {
        timer = 0;
        next = Date.now() + Math.max(ms, 10 * (Date.now() - began));
        if (wanted) limit();
      }
    }, Math.max(0, next - Date.now()));
  };
  limit.stop = () => {
    stopped = true;
    clearTimeout(timer);
  };
  return limit;
};
