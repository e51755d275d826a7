// The live tail: outcomes as they become known, on top of the list; its button pauses it.
const button = document.getElementById("live"), heard = document.getElementById("heard");
const body = document.querySelector("#live-rows tbody");
const MOST = 200;
const KINDS = {
  "delivered": ["delivered", "Delivered"], "finally-ok": ["late", "Delivered late"],
  "pending": ["pending", "Waiting"], "held": ["pending", "Held"], "soft-bounce": ["soft", "Soft bounce"],
  "hard-bounce": ["hard", "Hard bounce"], "undetermined-bounce": ["unknown", "Undetermined"],
  "expired": ["expired", "Expired"], "discarded": ["discarded", "Discarded"],
};
let source = null, cursor = "latest", count = 0;

const two = (number) => String(number).padStart(2, "0");
function when(text) {
  const at = new Date(text.slice(0, 23).replace(/Z?$/, "Z")), time = document.createElement("time");
  time.dateTime = time.title = text;
  time.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return time;
}

function made(tag, className, ...inside) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...inside);
  return element;
}

function linked(href, inside) {
  const link = made("a", "", inside);
  link.href = href;
  return link;
}

function row(one) {
  const [kind, label] = KINDS[one.state] || ["hop", one.state];
  const from = one.sender || (one.sender === "" ? "the mail system" : "unknown sender");
  const line = made("tr", "fresh",
    made("td", "when", linked(button.dataset.message + one.id, when(one.last_at || one.first_at || ""))),
    made("td", "", made("span", `key ${kind}`, label)),
    made("td", "break", linked(button.dataset.recipient + encodeURIComponent(one.recipient), one.recipient || "unknown recipient")),
    made("td", "break", made("small", "", `from ${from}`, document.createElement("br"),
      `${one.client_id || "unknown client"} · ${one.host} `, made("code", "", one.queue_id))),
    made("td", "", one.category || ""),
    made("td", "n", String(one.attempts)));
  line.dataset.key = one.key;
  return line;
}

function hear(event) {
  cursor = event.lastEventId || cursor;
  const one = JSON.parse(event.data);
  for (const known of [...body.children]) if (known.dataset.key === one.key) known.remove();
  if (one.state !== "withdrawn") body.prepend(row(one));
  while (body.children.length > MOST) body.lastElementChild.remove();
  count += 1;
  say(`Live: ${count} ${count === 1 ? "change" : "changes"} since you began.`);
}

function say(text) {
  heard.hidden = !text;
  heard.textContent = text;
}

function begin() {
  const asked = new URLSearchParams({ after: cursor });
  if ("one" in button.dataset) asked.set("client", button.dataset.client);
  source = new EventSource(`${button.dataset.stream}?${asked}`);
  source.addEventListener("outcome", hear);
  source.addEventListener("open", () => { if (!count) say("Live: waiting for the next outcome."); });
  source.addEventListener("error", () => say("The connection is gone; trying again …"));
  button.ariaPressed = "true";
  button.textContent = "Pause";
}

function pause() {
  source.close();
  source = null;
  button.ariaPressed = "false";
  button.textContent = "Go on";
  say(`Paused after ${count} ${count === 1 ? "change" : "changes"}; nothing is missed when you go on.`);
}

if (button && body) {
  button.hidden = false;
  button.addEventListener("click", () => (source ? pause() : begin()));
  addEventListener("pagehide", () => source && source.close());
}
