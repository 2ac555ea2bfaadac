// The page: adds pictures, scores a few of them at a time, and shows the results.

import { Card, summary } from "./card.js";
import { Problem, health, score, scoreUrl } from "./gateway.js";
import { prepare, readable } from "./pictures.js";

// The number of concurrent requests; more would only wait in the browser or the gateway.
const CONCURRENCY = 3;
const KEY = "function-key";

const $ = (id) => document.getElementById(id);

const jobs = new Map(); // from each card to the controller that cancels its request
const queue = []; // the cards whose requests have not started
let running = 0;

// --- Adding and removing pictures ----------------------------------------------------------------------------------

function add(files) {
  if (!files.length) return;
  const cards = files.map((file) => new Card(file, { onRetry: enqueue, onRemove: removeByUser, onKey: focusKey }));
  $("cards").prepend(...cards.map((card) => card.element));
  document.body.classList.add("has-results");
  $("results").hidden = false;
  cards.forEach(enqueue);
  scrollToResults();
  announce(cards.length === 1 ? `Scoring ${cards[0].name}` : `Scoring ${cards.length} pictures`);
}

/** Scroll to the results if they start near the end of the screen, or below it. */
function scrollToResults() {
  const results = $("results");
  if (results.getBoundingClientRect().top > innerHeight * 0.6) results.scrollIntoView();
}

function remove(card) {
  jobs.get(card)?.abort();
  jobs.delete(card);
  if (queue.includes(card)) queue.splice(queue.indexOf(card), 1);
  card.close();
  const empty = !$("cards").children.length;
  document.body.classList.toggle("has-results", !empty);
  $("results").hidden = empty;
}

function removeByUser(card) {
  const neighbour = card.element.nextElementSibling ?? card.element.previousElementSibling;
  remove(card);
  announce(`${card.name} removed`);
  (neighbour?.querySelector(".remove") ?? $("choose")).focus();
}

function clear() {
  [...jobs.keys()].forEach(remove);
  announce("All results removed");
  $("choose").focus();
}

// --- Scoring -------------------------------------------------------------------------------------------------------

function enqueue(card) {
  jobs.set(card, new AbortController());
  card.waiting();
  queue.push(card);
  startJobs();
}

function startJobs() {
  while (running < CONCURRENCY && queue.length) {
    running += 1;
    run(queue.shift()).finally(() => {
      running -= 1;
      startJobs();
    });
  }
}

async function run(card) {
  const { signal } = jobs.get(card);
  try {
    const result = await scoreFile(card, signal);
    if (signal.aborted) return;
    card.done(result);
    announce(summary(card.name, result));
  } catch (error) {
    if (signal.aborted) return;
    const problem = error instanceof Problem ? error : new Problem({ title: "This page failed", detail: String(error) });
    fail(card, problem);
  }
}

async function scoreFile(card, signal) {
  card.preparing();
  const { file } = card;
  if (!(await readable(file))) {
    throw new Problem({
      title: "The file can’t be read",
      detail: "It is a folder, or it was moved or deleted.",
      remedy: "Open the folder, and choose the pictures in it.",
      status: 422,
    });
  }
  if (!file.size) {
    throw new Problem({ title: "The file is empty", remedy: "Choose it again, or another one.", status: 422 });
  }
  const picture = await prepare(file);
  if (!signal.aborted) card.scoring(picture);
  return score(picture, { service: $("service").value, key: readKey(), signal });
}

function fail(card, problem) {
  card.failed(problem);
  card.waitsForKey = problem.kind === "key";
  if (card.waitsForKey) setKeyValidity(false);
  announce([`${card.name}: ${problem.title}`, problem.detail, problem.remedy].filter(Boolean).map(sentence).join(" "));
  if (problem.status >= 500) showHealth();
}

// --- The function key, stored in sessionStorage, or in memory if the browser denies access to it ------------------------

let keyInMemory = "";

function readKey() {
  try {
    return sessionStorage.getItem(KEY) ?? keyInMemory;
  } catch {
    return keyInMemory;
  }
}

function storeKey(key) {
  keyInMemory = key;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // It is in memory.
  }
}

function focusKey() {
  $("key").focus();
  $("key").select();
}

function setKeyValidity(valid) {
  $("key").setAttribute("aria-invalid", String(!valid));
}

function submitKey(event) {
  event.preventDefault();
  const key = $("key").value.trim();
  const valid = /^[!-~]*$/.test(key);
  setKeyValidity(valid);
  $("key-hint").textContent = valid
    ? "Stored in this tab only, until you close it."
    : "A key has only ASCII letters, digits and symbols; this one has other characters.";
  if (!valid) return;
  storeKey(key);
  showCommand();
  announce(key ? "The key is set" : "The key is removed");
  [...jobs.keys()].filter((card) => card.waitsForKey).forEach((card) => {
    card.waitsForKey = false;
    enqueue(card);
  });
}

// --- The gateway's state ---------------------------------------------------------------------------------------------

let healthRequest = null;

/** Request and show the gateway's state; concurrent calls share one request. */
function showHealth() {
  healthRequest ??= health()
    .then(showServices, showHealthProblem)
    .finally(() => {
      healthRequest = null;
    });
}

function showServices({ ready, services }) {
  setServiceOptions(services);
  const notReady = services.filter((service) => !service.ready);
  if (ready) setState("ready", "Ready");
  else if (notReady.length < services.length) setState("partly", "Partly ready");
  else setState("failed", "Not ready");
  setNotice(
    notReady.map(({ name, cause }) => `The service ${name} is not ready${cause ? `: ${uncapitalized(cause)}` : ""}.`),
  );
}

function showHealthProblem(problem) {
  setState("failed", problem.kind === "unreachable" ? "Unreachable" : "Not ready");
  setNotice([problem.title, problem.detail, problem.remedy].filter(Boolean).map(sentence));
}

function setState(state, text) {
  $("state").dataset.state = $("notice").dataset.state = state;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
}

function setNotice(lines) {
  const notice = $("notice");
  if (notice.textContent === lines.join("")) return;
  notice.hidden = !lines.length;
  notice.replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
}

function sentence(text) {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function uncapitalized(title) {
  return title.charAt(0).toLowerCase() + title.slice(1);
}

function setServiceOptions(services) {
  const select = $("service");
  const chosen = select.value;
  const options = services.map(({ name, ready }) => new Option(ready ? name : `${name} (not ready)`, name));
  select.replaceChildren(new Option("Default", ""), ...options);
  select.value = services.some(({ name }) => name === chosen) ? chosen : "";
  $("service-field").hidden = services.length < 2;
}

// --- Events ----------------------------------------------------------------------------------------------------------

function announce(text) {
  const log = $("announcer");
  log.append(Object.assign(document.createElement("p"), { textContent: text }));
  while (log.children.length > 30) log.firstChild.remove();
}

function listenToInputs() {
  for (const [button, input] of [["choose", "files"], ["photograph", "camera"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      add([...$(input).files]);
      $(input).value = ""; // otherwise, choosing the same file again would not be a change
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) event.preventDefault();
    add(files);
  });
}

function listenToDrops() {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // every element on the way sends an enter and a leave event
  const mark = (change) => {
    depth = change ? Math.max(0, depth + change) : 0;
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(0);
    add([...event.dataTransfer.files]);
  });
}

function showCommand() {
  const key = readKey() ? "-H \"x-functions-key: $KEY\" " : "";
  $("command").textContent = `curl ${key}-F photo=@cat.jpg '${scoreUrl($("service").value)}'`;
}

listenToInputs();
listenToDrops();
$("clear").addEventListener("click", clear);
$("key-form").addEventListener("submit", submitKey);
$("service").addEventListener("change", showCommand);
$("key").value = readKey();
showCommand();
showHealth();
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && showHealth());
addEventListener("online", showHealth);
