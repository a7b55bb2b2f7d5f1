"use strict";
/* Asks this paqet for what it tells at its control socket, too (docs/control.md), and shows it. What
 * comes from there is put into the page as text alone. */

const SAMPLES = 120; // of the graphs
const WINDOW = 10; // answers over which loss is measured
const FEW = 50; // packets, of which no loss can be told
const SESSIONS = 20; // shown, the busiest first
const STREAMS = 15;
const LINES = 200; // of the log
const BIG = 100000; // bytes of an answer that is asked for less often

const $ = (id) => document.getElementById(id);
let T = TEXTS.en;
let seen = []; // the last answers, each with the page's own time in `at`
let graph = []; // {in, out, rtt}
const noStreams = () => ({ now: [], before: new Map(), at: 0, left: 0 });
let streams = noStreams();
let state = "waiting";

/* ---- numbers as texts */

function number(v, digits = 0) {
  return new Intl.NumberFormat(T.locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(v);
}

function bytes(v) {
  let unit = 0;
  for (; v >= 1000 && unit < T.units.length - 1; unit++) v /= 1000;
  return `${number(v, unit && v < 10 ? 1 : 0)} ${T.units[unit]}`;
}

function rate(perSecond) {
  const kbit = Math.max(perSecond, 0) * 8 / 1000;
  return kbit < 1000 ? `${number(kbit)} ${T.kbit}` : `${number(kbit / 1000, kbit < 100000 ? 1 : 0)} ${T.mbit}`;
}

function duration(s) {
  s = Math.max(0, Math.floor(s));
  const part = (v, unit) => `${number(v)} ${T.time[unit]}`;
  if (s < 60) return part(s, "s");
  if (s < 3600) return part(Math.floor(s / 60), "min");
  if (s < 86400) return `${part(Math.floor(s / 3600), "h")} ${part(Math.floor(s % 3600 / 60), "min")}`;
  return `${part(Math.floor(s / 86400), "d")} ${part(Math.floor(s % 86400 / 3600), "h")}`;
}

const percent = (share) => share === null ? "–" : `${number(100 * Math.max(0, share), 1)}${T.dir === "rtl" ? "٪" : " %"}`;

/* ---- what the answers say */

const sum = (list, key) => list.reduce((total, one) => total + (one[key] || 0), 0);
const byId = (answer) => new Map(answer.sessions.map((one) => [one.id, one]));

/* What of the sent was lost: what was sent again and not in vain. */
function lostOut(now, old) {
  let sent = 0, lost = 0;
  for (const one of now) {
    const before = old.get(one.id) || {};
    const grown = (key) => one[key] - (before[key] || 0);
    sent += grown("sent") + grown("resent");
    lost += grown("resent") - grown("needless");
  }
  return sent < FEW ? null : lost / sent;
}

/* The same of what was sent to here, which our own wire tells under the keys in use. */
function lostIn(now) {
  const expected = sum(now, "expected");
  return expected < FEW ? null : 1 - sum(now, "came") / expected;
}

/* Bytes on the wire beside each byte of a stream. */
function cost(now) {
  const payload = sum(now, "carried_in") + sum(now, "carried_out");
  return payload < BIG ? null : (sum(now, "wire_in") + sum(now, "wire_out")) / payload - 1;
}

function median(list) {
  const sorted = list.filter((v) => v > 0).sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : 0;
}

/* ---- the page */

function put(id, text) {
  const at = typeof id === "string" ? $(id) : id;
  if (at.textContent !== text) at.textContent = text;
}

/* Rows of a table: each cell is {text, name: key of its head, wide, ltr}. */
function fill(head, body, names, rows) {
  const cells = names.map((name) => {
    const th = document.createElement("th");
    th.scope = "col";
    th.setAttribute("role", "columnheader");
    th.textContent = T[name];
    return th;
  });
  if (head.textContent !== cells.map((th) => th.textContent).join("")) head.replaceChildren(...cells);
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, i) => {
    const tr = body.rows[i] || body.insertRow();
    tr.setAttribute("role", "row");
    while (tr.cells.length > row.length) tr.deleteCell(-1);
    row.forEach((cell, k) => {
      const td = tr.cells[k] || tr.insertCell();
      td.setAttribute("role", "cell");
      td.dataset.label = T[names[k]];
      td.className = cell.wide ? "wide" : cell.number ? "number" : "";
      td.dir = cell.ltr ? "ltr" : "auto";
      put(td, cell.text);
    });
  });
}

function fillList(id, texts) {
  const list = $(id);
  const wanted = texts.length ? texts : [T.nothing];
  if ([...list.children].map((li) => li.textContent).join("\n") === wanted.join("\n")) return;
  list.replaceChildren(...wanted.map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  }));
}

/* A line through the samples, the newest at the right; `close` makes an area of it. */
function line(values, top, close) {
  const step = 600 / (SAMPLES - 1);
  const first = SAMPLES - values.length;
  const points = values.map((v, i) => `${((first + i) * step).toFixed(1)},${(148 - 145 * v / top).toFixed(1)}`);
  if (!points.length) return "";
  return `M${points.join("L")}` + (close ? `L600,150L${(first * step).toFixed(1)},150Z` : "");
}

function draw() {
  const most = Math.max(...graph.map((s) => Math.max(s.in, s.out)), 12500);
  const mega = most * 8 / 1e6;
  const size = 10 ** Math.floor(Math.log10(mega));
  const top = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= mega) * 1e6 / 8;
  for (const way of ["in", "out"]) {
    const values = graph.map((s) => s[way]);
    document.querySelector(`#graph .area.${way}`).setAttribute("d", line(values, top, true));
    document.querySelector(`#graph .line.${way}`).setAttribute("d", line(values, top, false));
  }
  put("graph-top", rate(top));
  put("graph-span", graph.length > 9 ? T.ago(number(graph.length - 1)) : "");
  const rtts = graph.map((s) => s.rtt);
  document.querySelector("#rtt-graph path").setAttribute("d", line(rtts, Math.max(...rtts, 1) * 1.2, false));
}

function showSessions(now, before, seconds) {
  const old = byId(before), oldest = byId(seen[0]);
  const server = now.role === "server";
  const grown = (one, key) => one[key] - ((old.get(one.id) || {})[key] || 0);
  const busy = [...now.sessions].sort((a, b) =>
    grown(b, "bytes_in") + grown(b, "bytes_out") - grown(a, "bytes_in") - grown(a, "bytes_out"));
  const tunnels = now.tunnels || [];
  const names = ["tunnel", "peer", "user", "wire", "rtt", "lostOut", "lostIn", "from", "to", "cost", "open", "age"];
  const shown = names.filter((name) => (server || name !== "user") && (tunnels.length || name !== "tunnel"));
  const rows = busy.slice(0, SESSIONS).map((one) => {
    const all = cost([one]);
    const note = one.half_open ? T.halfOpen : one.silent_s > 10 ? `${T.silentFor} ${duration(one.silent_s)}` : "";
    const cells = {
      tunnel: { text: one.tunnel || "–", ltr: true },
      peer: { text: one.peer, wide: true, ltr: true },
      user: { text: one.user || "–" },
      wire: { text: `${one.wire} · ${one.transport} · ${one.cipher} · ${one.look}`, wide: true, ltr: true },
      rtt: { text: one.rtt_ms ? `${number(one.rtt_ms, 1)} ${T.ms}` : "–", number: true },
      lostOut: { text: percent(lostOut([one], oldest)), number: true },
      lostIn: { text: percent(lostIn([one])), number: true },
      from: { text: rate(grown(one, "bytes_in") / seconds), number: true },
      to: { text: rate(grown(one, "bytes_out") / seconds), number: true },
      cost: { text: percent(all), number: true },
      open: { text: number(one.streams), number: true },
      age: { text: duration(one.age_s) + (note && ` · ${note}`) },
    };
    return shown.map((name) => cells[name]);
  });
  fill($("session-head"), $("session-rows"), shown, rows);
  const more = now.sessions.length - rows.length + now.sessions_left_out;
  const waits = tunnels.filter((one) => one.waits).map((one) => T.waits(one.name, one.waits));
  put("session-more", [more ? T.more(number(more)) : rows.length ? "" : T.noSessions, ...waits].filter(Boolean).join(" · "));
}

function showStreams(role) {
  const rows = streams.now.slice(0, STREAMS).map((one) => {
    const cells = [
      { text: one.host ? `${one.host.includes(":") ? `[${one.host}]` : one.host}:${one.port}` : "–", wide: true, ltr: true },
      { text: one.kind, ltr: true }, { text: one.user || one.tunnel ? `${one.user || one.tunnel} · ${one.peer}` : one.peer, ltr: true },
      { text: rate(one.from), number: true }, { text: rate(one.to), number: true },
      { text: bytes(one.bytes_in + one.bytes_out), number: true }, { text: duration(one.age_s), number: true },
    ];
    return cells;
  });
  fill($("stream-head"), $("stream-rows"), ["target", "kind", "session", "from", "to", "total", "age"], rows);
  const more = streams.now.length - rows.length + streams.left;
  put("stream-more", more ? T.more(number(more)) : rows.length ? "" : T.noStreams);
}

function showTotals(now, before, seconds) {
  const t = now.totals, client = now.role === "client";
  document.querySelector('[data-text="in"]').textContent = client ? T.inClient : T.inServer;
  document.querySelector('[data-text="out"]').textContent = client ? T.outClient : T.outServer;
  for (const way of ["in", "out"]) {
    put(`rate-${way}`, rate((t[`bytes_${way}`] - before.totals[`bytes_${way}`]) / seconds));
    put(`sum-${way}`, T.sum(bytes(t[`bytes_${way}`])));
  }
  const file = now.file.split("/").pop();
  put("who", T.who(T.role[now.role], file, duration(now.uptime_s), number(now.workers)));
  const rtt = median(now.sessions.map((one) => one.rtt_ms));
  put("rtt", rtt ? `${number(rtt, rtt < 10 ? 1 : 0)} ${T.ms}` : "–");
  put("lost-out", percent(lostOut(now.sessions, byId(seen[0]))));
  put("lost-in", percent(lostIn(now.sessions)));
  put("cost", percent(cost(now.sessions)));
  put("sessions", client ? number(t.sessions) : T.of(number(t.sessions), number(t.sessions_max)));
  put("half", t.half_open ? T.half(number(t.half_open)) : "");
  put("streams", number(sum(now.sessions, "streams")));
  put("opened", T.opened(number(t.streams_opened)));
  put("flows", T.of(number(t.udp_flows), number(t.udp_flows_max)));
  showRules(now);
  put("memory", bytes(now.memory.resident));
  put("queues", T.queues(bytes(now.memory.queues), bytes(now.memory.queues_max)));
  const did = Object.keys(T.events).filter((key) => now.events[key]);
  fillList("did", did.map((key) => `${number(now.events[key])} ${T.events[key]}`));
  const drops = [...now.drops].sort((a, b) => b.count - a.count);
  fillList("drops", drops.map((one) => `${number(one.count)} ${T.reasons[one.reason] || one.reason}`));
  put("log-level", T.level(now.log_level));
}

/* What only a client with such keys has. */
function showRules(now) {
  const { rules, dns, kill_switch: kill } = now;
  $("rules-card").hidden = !rules;
  $("dns-card").hidden = !dns;
  $("kill-card").hidden = !kill;
  if (rules) {
    put("rules", T.ways(number(rules.direct), number(rules.tunnel)));
    put("rules-note", T.refused(number(rules.block), number(rules.tun_refused)));
  }
  if (dns) {
    put("dns", number(dns.questions));
    put("dns-note", T.names(number(dns.cached), number(dns.direct), number(dns.blocked), number(dns.failed)));
  }
  if (kill) put("kill", T.switch[kill]);
}

function setState(next) {
  state = next;
  $("state").className = next === "live" ? "ok" : next === "waiting" ? "wait" : "bad";
  put("state", T[next]);
}

function show() {
  const now = seen[seen.length - 1], before = seen[seen.length - 2] || now;
  if (!now) return;
  const seconds = Math.max((now.at - before.at) / 1000, 0.001);
  showTotals(now, before, seconds);
  showSessions(now, before, seconds);
  showStreams(now.role);
  draw();
}

function speak(code) {
  T = TEXTS[code];
  document.documentElement.lang = code;
  document.documentElement.dir = T.dir;
  for (const at of document.querySelectorAll("[data-text]")) at.textContent = T[at.dataset.text];
  $("language").textContent = T.other;
  $("language").lang = T.otherCode;
  setState(state);
  show();
}

/* ---- asking */

let size = 0; // of the last answer

async function ask(path) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), 8000);
  try {
    /* The origin is without the user and token that the page's address may have. */
    const answer = await fetch(location.origin + path, { cache: "no-store", signal: stop.signal });
    if (answer.status === 401) throw new Error("denied");
    if (!answer.ok) throw new Error("gone");
    const text = await answer.text();
    size = text.length;
    return JSON.parse(text);
  } finally {
    clearTimeout(timer);
  }
}

async function askStatus() {
  const now = await ask("/status.json");
  now.at = performance.now();
  const before = seen[seen.length - 1];
  if (before && (now.pid !== before.pid || now.uptime_s < before.uptime_s)) { // it was started again
    seen = [];
    graph = [];
    streams = noStreams();
    nextLine = 0;
  }
  const last = seen[seen.length - 1];
  seen.push(now);
  if (seen.length > WINDOW) seen.shift();
  const heard = now.sessions.some((one) => one.silent_s < 6);
  setState(now.role === "client" && !heard ? "silent" : "live");
  if (!last) return;
  const seconds = Math.max((now.at - last.at) / 1000, 0.001);
  const grown = (key) => Math.max(0, (now.totals[key] - last.totals[key]) / seconds);
  graph.push({ in: grown("bytes_in"), out: grown("bytes_out"), rtt: median(now.sessions.map((one) => one.rtt_ms)) });
  if (graph.length > SAMPLES) graph.shift();
}

async function askStreams() {
  const answer = await ask("/top.json");
  const at = performance.now();
  const seconds = Math.max((at - streams.at) / 1000, 0.001);
  const rated = answer.streams.map((one) => {
    const before = streams.before.get(one.id) || { bytes_in: 0, bytes_out: 0 };
    const span = streams.before.has(one.id) ? seconds : Math.max(one.age_s, 0.5);
    return { ...one, from: (one.bytes_in - before.bytes_in) / span, to: (one.bytes_out - before.bytes_out) / span };
  });
  rated.sort((a, b) => b.from + b.to - a.from - a.to);
  streams = { now: rated, before: new Map(answer.streams.map((one) => [one.id, one])), at, left: answer.streams_left_out };
}

let nextLine = 0;

async function askLog() {
  const answer = await ask(`/log.json?after=${nextLine}`);
  const list = $("log");
  nextLine = answer.next;
  for (const text of answer.lines) {
    const part = /^(\S+ [\d:]+)\.\d+ \[([A-Z]+)\] (.*)$/.exec(text);
    const li = document.createElement("li");
    li.dir = "ltr";
    if (part) {
      const time = document.createElement("time");
      time.textContent = part[1];
      li.className = part[2];
      li.append(time, part[3]);
    } else {
      li.textContent = text;
    }
    list.prepend(li);
  }
  while (list.children.length > LINES) list.lastChild.remove();
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const visible = () => !document.hidden || new Promise((done) => {
  document.addEventListener("visibilitychange", done, { once: true });
});

async function run() {
  for (let turn = 0, pause = 1, rest = 1; ; turn++) {
    await visible();
    const begin = performance.now();
    try {
      await askStatus();
      pause = size > BIG ? 3 : 1;
      if (turn % rest === 0) {
        await askStreams();
        rest = size > BIG ? 5 : 1;
      }
      await askLog();
      show();
    } catch (error) {
      setState(error.message === "denied" ? "denied" : "gone");
      pause = 2;
    }
    await wait(Math.max(200, 1000 * pause - (performance.now() - begin)));
  }
}

function keep(code) {
  try {
    localStorage.setItem("language", code);
  } catch { /* not for good, then */ }
}

function kept() {
  try {
    return localStorage.getItem("language");
  } catch {
    return null;
  }
}

$("language").addEventListener("click", () => {
  keep(T.otherCode);
  speak(T.otherCode);
});
const wanted = kept() || (navigator.language || "").slice(0, 2);
speak(TEXTS[wanted] ? wanted : "en");
run();
