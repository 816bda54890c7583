// The page lives with this, and reads without it: it fetches the page anew when
// something has happened, counts seconds, and asks before what cannot be undone.
"use strict";
(() => {
  const main = document.getElementById("main");
  const live = document.getElementById("live");
  const news = document.getElementById("news");

  const span = (s) => {
    s = Math.max(0, Math.floor(s));
    const two = (n) => String(n).padStart(2, "0");
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min " + two(s % 60) + " s";
    if (s < 86400) return Math.floor(s / 3600) + " h " + two(Math.floor((s % 3600) / 60)) + " min";
    return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
  };
  const until = (s) => (s < -60 ? span(-s) + " ago" : s < 1 ? "now" : "in " + span(s));

  // The server's clock, as far as its answers tell; ours may be wrong.
  let ahead = 0;
  const tick = () => {
    const now = Date.now() + ahead;
    for (const e of document.querySelectorAll("[data-since]")) {
      const text = span((now - Date.parse(e.dataset.since)) / 1000);
      if (e.textContent !== text) e.textContent = text;
    }
    for (const e of document.querySelectorAll("[data-until]")) {
      const text = until((Date.parse(e.getAttribute("datetime")) - now) / 1000);
      if (e.textContent !== text) e.textContent = text;
    }
  };

  const busy = () => {
    const e = document.activeElement;
    return main.contains(e) && e.matches("input, textarea, select") || main.querySelector("details[open] form") !== null;
  };

  let wanted = false, fetching = false, last = 0;
  const refresh = async () => {
    if (fetching || !wanted || document.hidden || busy()) return;
    if (Date.now() - last < 900) { setTimeout(refresh, 1000); return; }
    fetching = true; wanted = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      const date = Date.parse(answer.headers.get("Date"));
      if (!isNaN(date)) ahead = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      if (next && answer.ok) swap(next);
    } catch { wanted = true; setTimeout(refresh, 5000); }
    fetching = false; last = Date.now();
    if (wanted) setTimeout(refresh, 1000);
  };
  // swap puts the new content in place, and leaves focus and open parts alone.
  const swap = (next) => {
    for (const said of next.querySelectorAll(".said")) said.remove();
    const open = [...main.querySelectorAll("details[open] > summary")].map((s) => s.textContent);
    for (const d of next.querySelectorAll("details")) if (open.includes(d.querySelector("summary").textContent)) d.open = true;
    const at = document.activeElement;
    const mark = main.contains(at) ? [at.tagName, at.getAttribute("href") || at.getAttribute("aria-label") || at.textContent] : null;
    const left = [...main.querySelectorAll(".scroll")].map((s) => s.scrollLeft);
    main.replaceChildren(...next.childNodes);
    main.querySelectorAll(".scroll").forEach((s, i) => { s.scrollLeft = left[i] || 0; });
    if (mark) {
      for (const e of main.querySelectorAll(mark[0])) {
        if ((e.getAttribute("href") || e.getAttribute("aria-label") || e.textContent) === mark[1]) { e.focus({ preventScroll: true }); break; }
      }
    }
    tick();
    main.dispatchEvent(new Event("refreshed"));
  };
  const want = () => { wanted = true; setTimeout(refresh, 150); };

  const connect = () => {
    const source = new EventSource("/v1/events");
    const say = (on, text) => { live.hidden = false; live.classList.toggle("on", on); live.querySelector(".text").textContent = text; };
    source.onopen = () => say(true, "live");
    source.onerror = () => {
      say(false, "reconnecting");
      if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(connect, 5000); }
    };
    for (const kind of ["tracked", "status", "overdue", "overdue_expected", "finished", "untracked", "reset"]) {
      source.addEventListener(kind, (e) => {
        want();
        if (kind !== "finished" && kind !== "overdue") return;
        try {
          const d = JSON.parse(e.data), j = d.job || d;
          news.textContent = "Job " + String(j.id).slice(0, 8) + " " + (kind === "finished" ? j.outcome || "ended" : "is overdue");
        } catch { /* news is a courtesy */ }
      });
    }
  };

  document.addEventListener("submit", (e) => {
    const ask = e.target.dataset.ask;
    if (ask && !confirm(ask)) e.preventDefault();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) want(); });
  main.addEventListener("focusout", () => setTimeout(refresh, 200));

  // What an action has said is not said again when the page is loaded anew.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }
  tick();
  setInterval(tick, 1000);
  // Looks and attempts that change nothing are no events: catch up now and then.
  setInterval(want, 10000);
  if (window.EventSource) connect();
})();
