// Builds elements. Text from the server only ever becomes a text node, never markup.
const SVG = "http://www.w3.org/2000/svg";

export const h = (name, props = {}, ...children) => {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "text") node.textContent = value;
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

export const svg = (name, props = {}, ...children) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

// Replaces the content of a node, unless it is equal. So an update moves no focus and closes no selection.
export const fill = (node, ...children) => {
  const next = document.createElement("div");
  next.append(...children.flat().filter(Boolean));
  if (node.innerHTML === next.innerHTML) return;
  const focused = node.contains(document.activeElement) ? document.activeElement.id : "";
  node.replaceChildren(...next.childNodes);
  if (focused) document.getElementById(focused)?.focus();
};

export const state = (job) => {
  const name = job.paused ? "paused" : job.state;
  return h(`span.state.${name}`, { text: name });
};

export const bar = (value, label) => h("progress", { max: 1, value: Math.min(1, Math.max(0, value || 0)), "aria-label": label });

let toasts = 0;
export const toast = (text) => {
  const node = h("div.toast", { text, id: `toast-${(toasts += 1)}` });
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), 6000);
};

// A chart of one series as an area. `label` describes it for screen readers.
export const chart = (values, label) => {
  const top = Math.max(...values, 1e-9);
  const step = 600 / Math.max(1, values.length - 1);
  const points = values.map((value, k) => `${(k * step).toFixed(1)},${(98 - (value / top) * 94).toFixed(1)}`);
  return svg(
    "svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", class: "chart", role: "img", "aria-label": label },
    svg("path", { class: "axis", d: "M0 98H600" }),
    svg("path", { class: "area", d: `M0,98 L${points.join(" L")} L600,98 Z` }),
    svg("path", { class: "line", d: `M${points.join(" L")}` }),
  );
};

// The states of a batch as one bar.
export const segments = (counts, total, label) => {
  const box = svg("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", class: "segments", role: "img", "aria-label": label });
  let at = 0;
  for (const name of ["done", "failed", "incomplete", "cancelled", "running", "queued"]) {
    const width = ((counts[name] || 0) / (total || 1)) * 100;
    if (width) box.append(svg("rect", { x: at, y: 0, width, height: 1, class: name === "incomplete" ? "failed" : name }));
    at += width;
  }
  return box;
};
