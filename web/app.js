// The page: takes pictures in, has them scored a few at a time, and shows what comes back.

import { Card, spoken } from "./card.js";
import { Problem, health, score, scoreAddress } from "./gateway.js";
import { prepare, readable } from "./pictures.js";

// As many requests at a time; more would only wait in the browser or the gateway.
const AT_ONCE = 3;
const KEY = "function-key";

const $ = (id) => document.getElementById(id);

const jobs = new Map(); // a card -> the controller that ends its request
const queue = []; // cards that wait for their turn
let running = 0;

// --- Pictures in ---------------------------------------------------------------------------------------------------

function add(files) {
  if (!files.length) return;
  const cards = files.map((file) => new Card(file, { onRetry: enqueue, onRemove: removeByHand, onKey: askForKey }));
  $("cards").prepend(...cards.map((card) => card.element));
  document.body.classList.add("has-results");
  $("results").hidden = false;
  cards.forEach(enqueue);
  showResults();
  say(cards.length === 1 ? `Scoring ${cards[0].name}` : `Scoring ${cards.length} pictures`);
}

/** On a small screen, the results would begin near its end, or below. */
function showResults() {
  const results = $("results");
  if (results.getBoundingClientRect().top > innerHeight * 0.6) results.scrollIntoView();
}

function remove(card) {
  jobs.get(card)?.abort();
  jobs.delete(card);
  if (queue.includes(card)) queue.splice(queue.indexOf(card), 1);
  card.close();
  const none = !$("cards").children.length;
  document.body.classList.toggle("has-results", !none);
  $("results").hidden = none;
}

function removeByHand(card) {
  const neighbour = card.element.nextElementSibling ?? card.element.previousElementSibling;
  remove(card);
  say(`${card.name} removed`);
  (neighbour?.querySelector(".remove") ?? $("choose")).focus();
}

function clear() {
  [...jobs.keys()].forEach(remove);
  say("All results removed");
  $("choose").focus();
}

// --- Scoring -------------------------------------------------------------------------------------------------------

function enqueue(card) {
  jobs.set(card, new AbortController());
  card.waiting();
  queue.push(card);
  work();
}

function work() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    attend(queue.shift()).finally(() => {
      running -= 1;
      work();
    });
  }
}

async function attend(card) {
  const { signal } = jobs.get(card);
  try {
    const result = await scored(card, signal);
    if (signal.aborted) return;
    card.done(result);
    say(spoken(card.name, result));
  } catch (error) {
    if (signal.aborted) return;
    const problem = error instanceof Problem ? error : new Problem({ title: "This page failed", detail: String(error) });
    fail(card, problem);
  }
}

async function scored(card, signal) {
  card.preparing();
  const { file } = card;
  if (!(await readable(file))) {
    throw new Problem({
      title: "The file can’t be read",
      detail: "It is a folder, or it is no longer where it was.",
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
  if (card.waitsForKey) markKey(false);
  say([`${card.name}: ${problem.title}`, problem.detail, problem.remedy].filter(Boolean).map(sentence).join(" "));
  if (problem.status >= 500) showHealth();
}

// --- The function key: in this tab's storage, or where the browser refuses that, in memory ----------------------------

let keyInMemory = "";

function readKey() {
  try {
    return sessionStorage.getItem(KEY) ?? keyInMemory;
  } catch {
    return keyInMemory;
  }
}

function keepKey(key) {
  keyInMemory = key;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Memory has it.
  }
}

function askForKey() {
  $("key").focus();
  $("key").select();
}

function markKey(good) {
  $("key").setAttribute("aria-invalid", String(!good));
}

function takeKey(event) {
  event.preventDefault();
  const key = $("key").value.trim();
  const usable = /^[!-~]*$/.test(key);
  markKey(usable);
  $("key-hint").textContent = usable
    ? "Stays in this tab, and is forgotten when you close it."
    : "A key has only letters, digits and signs: this one holds something else.";
  if (!usable) return;
  keepKey(key);
  showCommand();
  say(key ? "The key is used from now on" : "No key is used from now on");
  [...jobs.keys()].filter((card) => card.waitsForKey).forEach((card) => {
    card.waitsForKey = false;
    enqueue(card);
  });
}

// --- The gateway's state ---------------------------------------------------------------------------------------------

let asking = null;

/** Ask the gateway for its state; those who ask while it is being asked get the same answer. */
function showHealth() {
  asking ??= health()
    .then(showServices, showUnwell)
    .finally(() => {
      asking = null;
    });
}

function showServices({ ready, services }) {
  offer(services);
  const away = services.filter((service) => !service.ready);
  if (ready) setState("ready", "Ready");
  else if (away.length < services.length) setState("partly", "Partly ready");
  else setState("failed", "Not ready");
  setNotice(away.map(({ name, why }) => `The service ${name} is not ready${why ? `: ${lowered(why)}` : ""}.`));
}

function showUnwell(problem) {
  const unreachable = problem.kind === "unreachable";
  setState("failed", unreachable ? "Out of reach" : "Not ready");
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

function lowered(title) {
  return title.charAt(0).toLowerCase() + title.slice(1);
}

function offer(services) {
  const select = $("service");
  const chosen = select.value;
  const options = services.map(({ name, ready }) => new Option(ready ? name : `${name} (not ready)`, name));
  select.replaceChildren(new Option("Default", ""), ...options);
  select.value = services.some(({ name }) => name === chosen) ? chosen : "";
  $("service-field").hidden = services.length < 2;
}

// --- Wiring ----------------------------------------------------------------------------------------------------------

function say(text) {
  const log = $("announcer");
  log.append(Object.assign(document.createElement("p"), { textContent: text }));
  while (log.children.length > 30) log.firstChild.remove();
}

function wireInputs() {
  for (const [button, input] of [["choose", "files"], ["photograph", "camera"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      add([...$(input).files]);
      $(input).value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) event.preventDefault();
    add(files);
  });
}

function wireDrop() {
  const brings = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0; // enter and leave are told for every element on the way
  const mark = (change) => {
    inside = change ? Math.max(0, inside + change) : 0;
    document.body.classList.toggle("dropping", inside > 0);
  };
  document.addEventListener("dragenter", (event) => brings(event) && mark(1));
  document.addEventListener("dragleave", (event) => brings(event) && mark(-1));
  document.addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    mark(0);
    add([...event.dataTransfer.files]);
  });
}

function showCommand() {
  const key = readKey() ? "-H \"x-functions-key: $KEY\" " : "";
  $("command").textContent = `curl ${key}-F photo=@cat.jpg '${scoreAddress($("service").value)}'`;
}

wireInputs();
wireDrop();
$("clear").addEventListener("click", clear);
$("key-form").addEventListener("submit", takeKey);
$("service").addEventListener("change", showCommand);
$("key").value = readKey();
showCommand();
showHealth();
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && showHealth());
addEventListener("online", showHealth);
