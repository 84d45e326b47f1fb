"use strict";
// Keep an open page up to date: fetch it again, and change only what differs. So the scroll
// position, the focus, the selection and a drawn figure stay as they are.
//
// The worker holds a request until the page would differ from the one that it last sent. If too
// many readers wait, it answers at once, and the page asks every `data-refresh` seconds.

const WAIT_SECONDS = 10;
const LEAST_GAP_MS = 1000;

let seen = ""; // the worker's name for what the page shows
let mayWait = false;
let shownAt = performance.now();
let request = new AbortController();

function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else {
    morphAttributes(old, fresh);
    morphChildren(old, fresh);
  }
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((child, i) => (i < before.length ? morph(before[i], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

function followers() {
  return [...document.querySelectorAll("[data-follow]")];
}

function isAtEnd(box) {
  return box.scrollHeight - box.scrollTop - box.clientHeight < 8;
}

function toEnd(box) {
  box.scrollTop = box.scrollHeight;
}

async function refresh(main) {
  const headers = { Prefer: `wait=${WAIT_SECONDS}` };
  if (seen) headers["If-None-Match"] = seen;
  request = new AbortController();
  const answer = await fetch(location.href, { cache: "no-store", headers, signal: request.signal });
  mayWait = answer.headers.has("Preference-Applied");
  if (answer.status !== 304) show(main, await answer.text());
  seen = answer.headers.get("ETag") || "";
}

function show(main, text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.querySelector("main[data-live]");
  if (!fresh) throw new Error("not a page of the dashboard");
  const following = followers().filter(isAtEnd);
  morph(main, fresh);
  shownAt = performance.now();
  following.forEach(toEnd);
  document.title = page.title;
}

async function keepFresh(main) {
  const askedAt = performance.now();
  if (!document.hidden) {
    const offline = document.getElementById("offline");
    await refresh(main).then(
      () => { offline.hidden = true; },
      () => { mayWait = false; offline.hidden = document.hidden; },
    );
  }
  schedule(main, mayWait ? askedAt + LEAST_GAP_MS - performance.now() : undefined);
}

function schedule(main, milliseconds = 1000 * main.dataset.refresh) {
  if (main.dataset.refresh) setTimeout(keepFresh, milliseconds, main);
}

// A hidden page takes no connection from others: a browser opens only a few to one host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) request.abort();
});

function ago(milliseconds) {
  const seconds = Math.max(Math.floor(milliseconds / 1000), 0);
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = units.find(([length]) => seconds >= length) || units[3];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function countOn(main) {
  const now = Number(main.dataset.now) + performance.now() - shownAt;
  for (const time of main.querySelectorAll("time")) {
    const text = ago(now - time.dataset.at) + time.dataset.suffix;
    if (time.firstChild.data !== text) time.firstChild.data = text;
  }
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

followers().forEach(toEnd);
schedule(document.querySelector("main"), 0);
setInterval(countOn, 1000, document.querySelector("main"));
