// What scripts add to every page: the viewer's zone, colours, keys, charts to point at and to zoom.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;

// --- Times in the viewer's zone; the exact moment in UTC stays on hover.

function localise(root = document) {
  for (const time of all("time[datetime]:not([data-ago])", root)) {
    const at = new Date(time.dateTime.slice(0, 23).replace("Z", "") + "Z");
    if (isNaN(at)) continue;
    time.textContent = `${day(at)} ${clock(at)}${time.dateTime.length > 17 ? `:${two(at.getSeconds())}` : ""}`;
    time.title ||= time.dateTime;
  }
  for (const tick of all("text[data-as=time]", root)) tick.textContent = clock(new Date(tick.dataset.at / 1000));
}

function sayZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const said = document.getElementById("zone");
  if (said && zone) said.textContent = `Times are ${zone}; point at one for UTC.`;
  for (const label of all("small.zone")) label.textContent = zone || "local";
}

// --- A range of one's own: what is typed is local time, what is sent is UTC.

function ownRange(form) {
  const fields = all("input[type=datetime-local]", form);
  for (const field of fields) {
    const at = new Date(field.dataset.at / 1000);
    field.value = `${day(at)}T${clock(at)}`;
  }
  form.addEventListener("submit", (event) => {
    for (const select of all("select", form)) select.disabled = select.value === select.options[0].value;
    const own = event.submitter && event.submitter.closest(".own");
    for (const field of fields) {
      const kept = own || form.querySelector(".own").hasAttribute("data-on");
      if (kept && field.value) {
        const sent = Object.assign(document.createElement("input"), { type: "hidden", name: field.name });
        sent.value = own ? new Date(field.value).toISOString() : new Date(field.dataset.at / 1000).toISOString();
        form.append(sent);
      }
      field.disabled = true;
    }
    if (own) all("input[name=range]", form).forEach((field) => (field.disabled = true));
  });
}

// --- Colours: as the system, light, dark.

function themes(button) {
  const root = document.documentElement;
  const names = { "": "as the system", light: "light", dark: "dark" };
  const say = () => {
    const now = root.dataset.theme || "";
    button.ariaLabel = button.title = `Colours: ${names[now]}`;
    button.firstElementChild.textContent = { "": "◐", light: "☀", dark: "☾" }[now];
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = { "": "light", light: "dark", dark: "" }[root.dataset.theme || ""];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try { next ? localStorage.setItem("theme", next) : localStorage.removeItem("theme"); } catch { /* for this page only */ }
    say();
  });
  say();
}

// --- Charts: point at a column for its numbers; press and drag for a shorter range.

function chart(plot) {
  const field = plot.querySelector(".field"), cursor = plot.querySelector(".cursor");
  const figure = plot.closest("figure");
  const rows = all("tbody tr", figure), names = all("thead th", figure).map((th) => th.textContent);
  const keys = all(".legend li", figure).map((li) => li.className);
  if (!rows.length) return;
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  plot.append(tip);
  let from = null;
  const column = (event) => {
    const box = field.getBoundingClientRect();
    return Math.max(0, Math.min(rows.length - 1, Math.floor(((event.clientX - box.left) / box.width) * rows.length)));
  };
  const mark = (first, last) => {
    const width = 1000 / rows.length;
    cursor.setAttribute("x", Math.min(first, last) * width);
    cursor.setAttribute("width", (Math.abs(last - first) + 1) * width);
  };
  const tell = (index) => {
    const cells = all("th, td", rows[index]);
    tip.replaceChildren(...cells.map((cell, n) => {
      const line = document.createElement(n ? "p" : "b");
      if (!n) { line.textContent = cell.textContent; return line; }
      const name = document.createElement("span"), value = document.createElement("span");
      name.className = keys[n - 1];
      name.textContent = names[n];
      value.textContent = cell.textContent;
      line.append(name, value);
      return line;
    }));
    tip.hidden = false;
    const box = field.getBoundingClientRect(), outer = plot.getBoundingClientRect();
    const x = box.left - outer.left + ((index + 0.5) / rows.length) * box.width;
    const left = x + 14 + tip.offsetWidth > outer.width ? x - tip.offsetWidth - 14 : x + 14;
    tip.style.left = `${Math.max(0, left)}px`;
  };
  field.addEventListener("pointermove", (event) => {
    const index = column(event);
    mark(from ?? index, index);
    tell(index);
  });
  field.addEventListener("pointerleave", () => {
    if (from !== null) return;
    tip.hidden = true;
    cursor.setAttribute("width", 0);
  });
  if (!plot.hasAttribute("data-zoom")) return;
  field.addEventListener("pointerdown", (event) => {
    if (event.button || event.pointerType === "touch") return;
    from = column(event);
    field.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  field.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const to = column(event), first = Math.min(from, to), last = Math.max(from, to);
    from = null;
    zoom(Number(rows[first].dataset.at), Number(rows[last].dataset.at) + Number(plot.dataset.step));
  });
  field.addEventListener("pointercancel", () => { from = null; });
}

function zoom(since, until) {
  if (until - since < 60e6) return;
  const url = new URL(location.href);
  url.searchParams.delete("range");
  url.searchParams.set("from", new Date(since / 1000).toISOString());
  url.searchParams.set("to", new Date(until / 1000).toISOString());
  location.assign(url);
}

// --- Keys and small things.

function keys(event) {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector(".search input");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
  if (event.key === "Escape") all("details.own[open]").forEach((own) => own.removeAttribute("open"));
}

function copying(pre) {
  if (!navigator.clipboard) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
  });
  pre.after(button);
}

// --- While a page is being made: a line at its top, as soon as that takes a while.

function waiting() {
  const root = document.documentElement;
  const begin = () => root.setAttribute("aria-busy", "true"), end = () => root.removeAttribute("aria-busy");
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    const other = event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey;
    if (!link || other || link.target || link.hasAttribute("download")) return;
    const to = new URL(link.href);
    if (to.origin === location.origin && (to.pathname !== location.pathname || to.search !== location.search)) begin();
  });
  document.addEventListener("submit", (event) => { if (!event.defaultPrevented) begin(); });
  addEventListener("pageshow", end);
}

waiting();
localise();
sayZone();
all("form.filters").forEach(ownRange);
all("select[data-submit]").forEach((select) => select.addEventListener("change", () => select.form.requestSubmit()));
all("form.filters .apply").forEach((button) => { if (button.form.querySelector("[data-submit]")) button.hidden = true; });
all("#theme").forEach(themes);
all(".plot").forEach(chart);
all("pre.copied").forEach(copying);
document.addEventListener("keydown", keys);
document.addEventListener("click", (event) => {
  all("details.own[open]").forEach((own) => { if (!own.contains(event.target)) own.removeAttribute("open"); });
});
