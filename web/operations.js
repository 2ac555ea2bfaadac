// The operations page: asks for the master key, shows what the gateway answers, and runs rotations.

import { API, Problem, parsed, problemOf, send } from "./gateway.js";
import { concernsView, element, instanceView, sharedView } from "./operations-view.js";
import { ACTIONS, away, outcome, sentence, utc } from "./operations-words.js";

const KEY = "master-key";
const REFRESH_MS = 30_000;
// Longer than the gateway's own limits.
const READ_TIMEOUT_MS = 20_000;
const RUN_TIMEOUT_MS = 90_000;

const $ = (id) => document.getElementById(id);

let key = null; // null before one was entered; empty for a gateway that needs none
let report = null; // the last answer, and when it came
let shownAt = 0;
let reading = null; // the controller of the request in progress
let timer = 0;
let running = false; // whether a button's request is in progress
const results = new Map(); // by service, of its buttons

// --- Requests --------------------------------------------------------------------------------------------------------

async function request(path, options, timeout, signal) {
  const response = await send(new URL(path, API), {
    ...options,
    headers: { ...options.headers, ...(key && { "x-functions-key": key }) },
    signal: AbortSignal.any([...(signal ? [signal] : []), AbortSignal.timeout(timeout)]),
  });
  const document = await parsed(response);
  if (response.ok && document) return document;
  throw keyProblem(response.status) ?? problemOf(response, document, Boolean(key));
}

function keyProblem(status) {
  if (status !== 401) return null;
  return new Problem({
    kind: "key",
    status,
    title: key ? "The master key is wrong" : "The master key is required",
    detail: "A function key is not enough: it is the app’s own, under App keys, _master.",
  });
}

async function read() {
  if (key === null || reading) return;
  clearTimeout(timer);
  const controller = reading = new AbortController();
  $("refresh").setAttribute("aria-busy", "true");
  try {
    report = await request("operations", {}, READ_TIMEOUT_MS, controller.signal);
    shownAt = Date.now();
    setNotice([]);
    show();
  } catch (error) {
    if (!controller.signal.aborted) fail(error);
  } finally {
    if (reading === controller) reading = null;
    $("refresh").removeAttribute("aria-busy");
    if (key !== null) timer = setTimeout(refreshIfVisible, REFRESH_MS);
  }
}

function refreshIfVisible() {
  if (document.visibilityState === "visible") read();
}

async function run(action, service) {
  running = true;
  results.set(service, { title: `${ACTIONS[action].label}: in progress`, lines: [], failed: false });
  show();
  try {
    const body = JSON.stringify({ service, ...ACTIONS[action].body });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    const answer = await request("rotation", options, RUN_TIMEOUT_MS);
    results.set(service, outcome(action, answer.services[service]));
  } catch (error) {
    if (error.kind === "key") fail(error);
    results.set(service, outcome(action, { problem: problemFrom(error) }));
  } finally {
    running = false;
  }
  if (key === null) return; // it was forgotten meanwhile
  const { title, lines } = results.get(service);
  announce(`${service}: ${[title, ...lines].map(sentence).join(" ")}`);
  show();
  await read();
}

function problemFrom(error) {
  return error instanceof Problem ? error : new Problem({ title: "This page failed", detail: String(error) });
}

function fail(error) {
  const problem = problemFrom(error);
  if (problem.kind === "key") {
    forget();
    setKeyValidity(false);
    setState("failed", problem.title);
    setNotice([problem.title, problem.detail]);
    $("key").focus();
    return;
  }
  setState("failed", "Not refreshed");
  const stale = report ? `What is shown is from ${utc(shownAt)}.` : "";
  setNotice([problem.title, problem.detail, problem.remedy, stale]);
}

// --- What is shown ---------------------------------------------------------------------------------------------------

function show() {
  if (!report) return;
  const { shared, instance } = report;
  // What had the focus has it again; so has its place in a table that is scrolled.
  const focused = document.activeElement?.id;
  const places = [...document.querySelectorAll(".scrolled")].map((one) => [one.id, one.scrollTop]);
  $("concerns").replaceChildren(...concernsView(report));
  $("services").replaceChildren(...sharedView(shared, results, running));
  $("instance-services").replaceChildren(...instanceView(instance));
  for (const [id, top] of places) if ($(id)) $(id).scrollTop = top;
  if (focused && document.activeElement?.id !== focused) $(focused)?.focus({ preventScroll: true });
  $("instance-about").textContent =
    `Instance ${instance.id}, process ${instance.process}, started ${away(instance.started)}. ` +
    "Another one may see something else, and may answer the next time. Counts are since the start.";
  const ready = instance.status === "ready";
  setState(ready ? "ready" : "partly", ready ? "Ready" : "Not all ready");
  $("updated").textContent = `Read at ${utc(report.at)}; again every 30 seconds while the page is visible.`;
  setVisible(true);
}

function setVisible(visible) {
  for (const id of ["toolbar", "concerns", "shared", "instance"]) $(id).hidden = !visible;
  $("key-form").hidden = visible;
  document.body.classList.toggle("has-results", visible);
}

function setState(state, text) {
  $("state").dataset.state = $("notice").dataset.state = state;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
}

function setNotice(lines) {
  const shown = lines.filter(Boolean).map(sentence);
  $("notice").hidden = !shown.length;
  if ($("notice").textContent === shown.join("")) return;
  $("notice").replaceChildren(...shown.map((line) => element("p", { textContent: line })));
}

function announce(text) {
  const log = $("announcer");
  log.append(element("p", { textContent: text }));
  while (log.children.length > 30) log.firstChild.remove();
}

// --- The key, in sessionStorage: of this tab alone -------------------------------------------------------------------

function storedKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function storeKey(value) {
  key = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // It is in memory.
  }
}

function setKeyValidity(valid) {
  $("key").setAttribute("aria-invalid", String(!valid));
}

function submitKey(event) {
  event.preventDefault();
  const entered = $("key").value.trim();
  const valid = /^[!-~]*$/.test(entered);
  setKeyValidity(valid);
  setNotice(valid ? [] : ["A key has only ASCII letters, digits and symbols; this one has other characters."]);
  if (!valid) return;
  storeKey(entered);
  setState("unknown", "Reading");
  read();
}

/** Forget the key, and all that was read with it. */
function forget() {
  clearTimeout(timer);
  reading?.abort();
  reading = null;
  storeKey(null);
  report = null;
  results.clear();
  for (const id of ["concerns", "services", "instance-services"]) $(id).replaceChildren();
  $("instance-about").textContent = $("updated").textContent = "";
  setVisible(false);
}

function forgetByUser() {
  forget();
  $("key").value = "";
  setNotice([]);
  setState("unknown", "No key");
  announce("The key is forgotten");
  $("key").focus();
}

// --- Buttons ---------------------------------------------------------------------------------------------------------

let confirmed = null; // what the open dialog is about: {action, service}

function press({ action, service }) {
  if (running) return;
  const { title, lines, label } = ACTIONS[action];
  if (!title) {
    run(action, service);
    return;
  }
  confirmed = { action, service };
  $("dialog-title").textContent = title(service);
  $("dialog-text").replaceChildren(
    ...lines(report.shared.services[service].rotation).map((line) => element("p", { textContent: line })),
  );
  $("confirm").textContent = label;
  $("dialog").showModal();
}

function confirm() {
  const { action, service } = confirmed;
  $("dialog").close();
  run(action, service);
}

$("key-form").addEventListener("submit", submitKey);
$("refresh").addEventListener("click", read);
$("forget").addEventListener("click", forgetByUser);
$("services").addEventListener("click", ({ target }) => target.dataset.action && press(target.dataset));
$("cancel").addEventListener("click", () => $("dialog").close());
$("confirm").addEventListener("click", confirm);
// The browser returns the focus to the button that opened it, which a refresh has replaced meanwhile.
$("dialog").addEventListener("close", () => $(`${confirmed.action}-${confirmed.service}`)?.focus());
document.addEventListener("visibilitychange", () => {
  if (Date.now() - shownAt >= REFRESH_MS) refreshIfVisible();
});

key = storedKey();
if (key !== null) {
  $("key").value = key;
  read();
}
