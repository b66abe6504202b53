// What pages do by themselves: parts marked `data-live` are renewed when something changes on the server, forms that
// ask (`data-ask`) show the answer beside them, a file can be dropped, and its upload is followed. Everything works without
// it, too.
"use strict";

// A page that is being left, by signing out for one, is not loaded again behind the back of whoever leaves it. One that is still
// there after a while was not left: its link was a download, or was stopped.
let leaving = false;
addEventListener("beforeunload", () => {
  leaving = true;
  setTimeout(() => { leaving = false; }, 10_000);
});

const page = async (address, options) => {
  // Whoever is signed out is led to the sign-in page. Only the browser itself may go there: asked for behind its back, that page
  // would renew the key that its form is sent with.
  // What the page asks for by itself nobody reads: the header keeps what is told once for the page that is shown next.
  const headers = { "X-Renewal": "1" };
  const answer = await fetch(address, { credentials: "same-origin", redirect: "manual", headers, ...options });
  if (answer.type === "opaqueredirect") {
    if (!leaving) location.reload();
    return null;
  }
  return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
};

// Who types in a part, is asked in it whether they are sure, or presses something in it: what is replaced while it is pressed is not
// clicked.
const busy = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")
  || part.matches(":active") || part.querySelector("details.confirm[open]");

// What somebody did with a part, element by element: opened or closed, and chose.
const done = (part) => [["details", "open"], ["select", "value"]].flatMap(([kind, what]) =>
  [...part.querySelectorAll(`${kind}[id]`)].map((one) => [one.id, what, one[what]]));

// Buttons of different forms may look the same.
const doesSame = (one, other) => one.isEqualNode(other) && (!one.form || one.form.isEqualNode(other.form));

// Some part is another one by now, and stays as it was, for somebody is busy in it.
let behind = false;

const renew = async () => {
  const fresh = await page(location.href);
  if (!fresh) return;
  behind = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || part.innerHTML === other.innerHTML) continue;
    if (busy(part)) { behind = true; continue; }
    const before = done(part);
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    part.replaceChildren(...document.importNode(other, true).childNodes);
    for (const [id, what, value] of before) Object.assign(document.getElementById(id) ?? {}, { [what]: value });
    // Who goes through the page with the keyboard goes on from where they were.
    if (focused) [...part.querySelectorAll(focused.localName)].find((one) => doesSame(one, focused))?.focus({ preventScroll: true });
    part.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
  }
};

const live = document.querySelector("[data-live]");
if (live && "EventSource" in window) {
  let waiting = false;
  let again = false;
  const changed = async () => {
    if (waiting) { again = true; return; }
    waiting = true;
    do { again = false; await renew().catch(() => {}); } while (again);
    waiting = false;
  };
  let events = null;
  let timer = 0;
  let failures = 0;
  const rest = () => { clearTimeout(timer); events?.close(); events = null; };
  const listen = () => {
    if (events || document.hidden) return;
    clearTimeout(timer);
    events = new EventSource(live.dataset.live || "/live");
    events.addEventListener("changed", changed);
    // What changed before anybody listened, or while the connection was gone.
    events.addEventListener("open", () => { failures = 0; changed(); });
    // Where nobody answers, the browser asks again by itself; where something else than a stream is answered, by a server that is being
    // stopped or by a proxy without one, it never does. Whoever is signed out meanwhile is led away by the page.
    events.addEventListener("error", () => {
      if (events?.readyState !== EventSource.CLOSED) return;
      rest();
      timer = setTimeout(async () => { await changed(); listen(); }, Math.min(60_000, 1_000 * 2 ** failures++));
    });
  };
  // What stayed as it was follows once nobody is busy in it: after the click, which comes right behind what ends that.
  const catchUp = () => setTimeout(() => { if (behind && ![...document.querySelectorAll("[data-live]")].some(busy)) changed(); });
  for (const end of ["focusout", "mouseup", "keyup", "dragend"]) document.addEventListener(end, catchUp);
  document.addEventListener("toggle", catchUp, true);
  // A stream is a connection, of which a browser has six for one server: nobody looks at a page that is out of sight.
  document.addEventListener("visibilitychange", () => document.hidden ? rest() : listen());
  addEventListener("pagehide", rest);
  addEventListener("pageshow", listen);
  listen();
}

for (const form of document.querySelectorAll("form[data-ask]")) {
  let timer = 0;
  let number = 0;
  const ask = async () => {
    const mine = ++number;
    const body = new URLSearchParams(new FormData(form));
    const fresh = await page(form.dataset.ask, { method: "POST", body }).catch(() => null);
    if (!fresh || mine !== number) return;
    for (const part of form.querySelectorAll("[data-told]")) {
      const other = fresh.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML) part.replaceChildren(...document.importNode(other, true).childNodes);
    }
  };
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 250); });
}

for (const select of document.querySelectorAll("select[data-reload]")) {
  select.addEventListener("change", () => {
    const button = select.form.querySelector("button[name=reload]");
    button ? select.form.requestSubmit(button) : select.form.requestSubmit();
  });
}

const drop = (place) => {
  const input = place.querySelector("input[type=file]");
  const over = (on) => (event) => { event.preventDefault(); place.classList.toggle("over", on); };
  place.addEventListener("dragover", over(true));
  place.addEventListener("dragleave", over(false));
  place.addEventListener("drop", (event) => {
    over(false)(event);
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    place.requestSubmit();
  });
  place.addEventListener("submit", (event) => {
    event.preventDefault();
    const told = place.querySelector("[role=status]");
    const bar = place.querySelector("progress");
    const send = new XMLHttpRequest();
    send.open("POST", place.action);
    send.setRequestHeader("Accept", "application/json, text/html");
    send.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.hidden = false;
      bar.max = total;
      bar.value = loaded;
      const done = loaded < total ? `Uploading: ${Math.floor(loaded * 100 / total)} %` : "Checking and compiling…";
      if (told.textContent !== done) told.textContent = done;
    });
    send.addEventListener("load", () => {
      if (send.getResponseHeader("Content-Type")?.startsWith("application/json")) {
        location.assign(JSON.parse(send.responseText).to);
        return;
      }
      const fresh = new DOMParser().parseFromString(send.responseText, "text/html").getElementById("main");
      if (!fresh) { location.reload(); return; }
      document.getElementById("main").replaceChildren(...document.importNode(fresh, true).childNodes);
      document.querySelectorAll("form.drop").forEach(drop);
    });
    send.addEventListener("error", () => {
      bar.hidden = true;
      told.textContent = "The connection was lost, and nothing is kept. Try it again.";
    });
    send.send(new FormData(place));
  });
};
document.querySelectorAll("form.drop").forEach(drop);
