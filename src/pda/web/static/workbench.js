// The rule workbench tries again by itself, half a second after the last key.
const form = document.getElementById("rule"), tried = document.getElementById("tried");
let timer = 0, asking = new AbortController();

async function again() {
  asking.abort();
  asking = new AbortController();
  tried.ariaBusy = "true";
  const body = new URLSearchParams(new FormData(form));
  try {
    const answer = await fetch(form.action, { method: "POST", body, signal: asking.signal });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("tried");
    if (found) tried.replaceChildren(...found.childNodes);
    tried.ariaBusy = "false";
  } catch (error) {
    if (error.name !== "AbortError") tried.ariaBusy = "false";
  }
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(again, 500);
});
form.addEventListener("submit", () => {
  clearTimeout(timer);
  asking.abort();
});
