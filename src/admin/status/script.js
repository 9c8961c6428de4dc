"use strict";
(() => {
  const EVERY = 5000, PATIENCE = 4000;
  const root = document.documentElement;
  const panel = document.getElementById("live");
  const button = panel.querySelector("button");
  const status = panel.querySelector("[role=status]");
  // Plots that move by themselves are motion: whoever asked for less of it starts them.
  let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let timer = 0, lost = "";

  // Only a change is written, so that a screen reader says each state once.
  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const clock = () => new Date().toISOString().slice(11, 19);

  function tell() {
    say(button, paused ? "Resume updates" : "Pause updates");
    say(status, paused ? "Updates are paused" : lost ? "No answer since " + lost + " UTC; still trying" : "Updates every 5 seconds");
    root.classList.toggle("stale", lost !== "");
  }

  // Makes `from` like `to` and touches nothing that is alike: focus, scroll positions and selections stay.
  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || from.id !== to.id) {
      from.replaceWith(document.importNode(to, true));
      return;
    }
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    const old = [...from.childNodes], fresh = [...to.childNodes];
    fresh.forEach((child, at) => at < old.length ? morph(old[at], child) : from.append(document.importNode(child, true)));
    old.slice(fresh.length).forEach(child => child.remove());
  }

  async function refresh() {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
        if (!answer.ok) throw new Error(answer.statusText);
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        // Another build may have another style, which this page's policy does not know.
        if (next.documentElement.dataset.build !== root.dataset.build) return location.reload();
        document.title = next.title;
        for (const id of ["state", "main"]) morph(document.getElementById(id), next.getElementById(id));
        lost = "";
      } catch {
        lost = lost || clock();
      }
      tell();
    }
    schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (!paused) timer = setTimeout(refresh, EVERY);
  }

  button.addEventListener("click", () => {
    paused = !paused;
    lost = "";
    tell();
    if (paused) clearTimeout(timer); else refresh();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); });
  panel.hidden = false;
  tell();
  schedule();
})();
