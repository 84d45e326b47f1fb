"use strict";
// Keep an open page up to date: fetch it again, and change only what differs. So the scroll
// position, the focus, the selection and a drawn figure stay as they are.

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
  const answer = await fetch(location.href, { cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main[data-live]");
  if (!fresh) throw new Error("not a page of the dashboard");
  const following = followers().filter(isAtEnd);
  morph(main, fresh);
  following.forEach(toEnd);
  document.title = page.title;
}

async function keepFresh(main) {
  if (!document.hidden) {
    const offline = document.getElementById("offline");
    await refresh(main).then(
      () => { offline.hidden = true; },
      () => { offline.hidden = false; },
    );
  }
  schedule(main);
}

function schedule(main) {
  const seconds = Number(main.dataset.refresh);
  if (seconds) setTimeout(keepFresh, seconds * 1000, main);
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

followers().forEach(toEnd);
schedule(document.querySelector("main"));
