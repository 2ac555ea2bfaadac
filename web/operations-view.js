// The elements that show what GET /api/operations answers.

import {
  ACTIONS, COLUMNS, PHASES, STATES, away, certificates, concerns, nextStep, remaining, sentence, utc,
} from "./operations-words.js";

const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

/** What somebody should look at, with links to the services. */
export function concernsView(report) {
  const found = concerns(report);
  if (!found.length) return [element("p", { textContent: "Nothing needs attention." })];
  return [
    element("h2", { textContent: "Needs attention" }),
    element("ul", {}, ...found.map(({ name, lines }) => element(
      "li",
      {},
      element("a", { href: `#${anchor(name, report)}`, textContent: name }),
      element("ul", {}, ...lines.map((line) => element("li", { textContent: sentence(line) }))),
    ))),
  ];
}

function anchor(name, { shared }) {
  return name in shared.services ? `service-${name}` : `own-${name}`;
}

/** What all instances share: an article for each service, and one for each that spreads its requests over others. */
export function sharedView({ services, traffic }, results, busy) {
  return [
    ...Object.entries(services).map(([name, parts]) => serviceView(name, parts, results.get(name), busy)),
    ...Object.entries(traffic).map(([name, weights]) => trafficView(name, weights)),
  ];
}

/** What the instance that answered sees: an article for each service, and one for its memory. */
export function instanceView({ services, memory }) {
  return [
    ...Object.entries(services).map(([name, one]) => ownView(name, one)),
    article("own-memory", "Memory for images", [], rows([
      ["In use", `${megabytes(memory.bodies)} of bodies, ${megabytes(memory.decoding)} of images being decoded; ${megabytes(memory.limit)} at most`],
      ["Refusals", counts(memory.refusals)],
    ])),
  ];
}

export function problemView({ title, detail, remedy }) {
  return element(
    "div",
    { className: "problem" },
    element("p", { className: "problem-title", textContent: title }),
    ...[detail, remedy].filter(Boolean).map((line) => element("p", { textContent: line })),
  );
}

// --- Shared ----------------------------------------------------------------------------------------------------------

function serviceView(name, parts, result, busy) {
  const rotation = parts.rotation.phase ? parts.rotation : null;
  const badge = rotation ? [element("p", { className: "badge", textContent: PHASES[rotation.phase] ?? rotation.phase })] : [];
  if (rotation) badge[0].dataset.phase = rotation.phase;
  const blocks = [
    element("div", { className: "certificates" }, ...Object.entries(COLUMNS).map(([part, title]) => column(part, title, parts))),
    block("Rotation", partView(parts.rotation, rotationView)),
    block("Keys in Key Vault", partView(parts.keys, (keys) => keysView(keys, rotation?.keys))),
  ];
  if (rotation?.history.length) blocks.push(block("Last events", [eventTable(name, rotation.history)]));
  // A rotation that could not be observed may still be run, and says what prevents it.
  if (!("not_applicable" in parts.rotation)) blocks.push(actions(name, busy), resultView(result));
  return article(`service-${name}`, name, badge, ...blocks);
}

function partView(part, view) {
  if (part.not_applicable) return [element("p", { className: "hint", textContent: part.not_applicable })];
  if (part.problem && Object.keys(part).length === 1) return [problemView(part.problem)];
  return view(part);
}

function column(part, title, parts) {
  const found = certificates(parts[part]);
  const others = Object.keys(COLUMNS).filter((other) => other !== part);
  const among = (fingerprint) => {
    const same = others.filter((other) => certificates(parts[other]).some((one) => one.fingerprint === fingerprint));
    if (same.length) return `The same is ${same.join(" and ")}.`;
    return others.some((other) => parts[other].problem) ? "" : "Only here.";
  };
  const shown = partView(parts[part], () =>
    found.length
      ? found.map((one) => certificateView(one, among(one.fingerprint)))
      : [element("p", { className: "hint", textContent: "There is none." })],
  );
  return element("section", { className: "column" }, element("h4", { textContent: title }), ...shown);
}

function certificateView(one, among) {
  const heading = one.heading ? [element("p", { className: "hint", textContent: one.heading })] : [];
  if (one.problem) return element("div", { className: "certificate" }, ...heading, problemView(one.problem));
  const refusal = one.refusal ? [element("p", { className: "problem", textContent: `Must not be used: ${one.refusal}` })] : [];
  if (!one.fingerprint) return element("div", { className: "certificate" }, ...refusal);
  const { level, text, share } = remaining(one);
  const fill = element("span", { className: "fill" });
  fill.style.inlineSize = `${100 * share}%`;
  const days = element("div", { className: "days" }, element("p", { textContent: text }), hidden("span", "track", fill));
  days.dataset.level = level;
  return element(
    "div",
    { className: "certificate" },
    ...heading,
    element("p", { className: "subject", textContent: one.subject || one.names.join(", ") }),
    days,
    ...refusal,
    rows([
      ["Issuer", one.issuer],
      ["Valid", `${utc(one.not_before)} to ${utc(one.not_after)}`],
      ["SHA-256", element("code", { textContent: one.fingerprint })],
    ]),
    element("p", { className: "among", textContent: among }),
  );
}

function rotationView(rotation) {
  const { steps, next_step: next, last_error: error, verified, problem } = rotation;
  const line = element("ol", { className: "steps" }, ...steps.map(stepView));
  return [
    line,
    element("p", { className: "next" }, element("strong", { textContent: "Next: " }), nextStep(next)),
    ...(problem ? [problemView(problem)] : error && next.action !== "stop" ? [element("p", { className: "problem", textContent: sentence(error) })] : []),
    ...(verified?.at ? [element("p", { className: "hint", textContent: `Last verified ${away(verified.at)}, at ${utc(verified.at)}.` })] : []),
  ];
}

function stepView({ phase, state }) {
  const step = element("li", {}, element("span", { textContent: PHASES[phase] }), " ", element("span", { className: "step-state", textContent: STATES[state] }));
  step.dataset.state = state;
  if (state !== "done" && state !== "ahead") step.setAttribute("aria-current", "step");
  return step;
}

function keysView({ primary, secondary }, rotation) {
  const stored = (key) => (key ? `stored ${away(key.stored_at)}, at ${utc(key.stored_at)}` : "there is none");
  const next = rotation ? [["Rotation", `${rotation.rotation === "idle" ? "none in progress" : "in progress"}. ${nextStep(rotation.next_step)}`]] : [];
  return [rows([["Primary", stored(primary)], ["Secondary", stored(secondary)], ...next])];
}

function eventTable(name, history) {
  const body = [...history].reverse().map(({ at, event, detail }) =>
    element("tr", {}, element("td", { textContent: utc(at) }), element("td", { textContent: event }), element("td", { textContent: detail })),
  );
  const head = element("tr", {}, ...["Time", "Event", "Detail"].map((text) => element("th", { textContent: text, scope: "col" })));
  const table = element(
    "table",
    {},
    element("caption", { className: "visually-hidden", textContent: `The last events of ${name}` }),
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
  const region = element("div", { className: "scrolled", tabIndex: 0 }, table);
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", `The last events of ${name}`);
  region.id = `events-${name}`;
  return region;
}

function actions(name, busy) {
  const buttons = Object.entries(ACTIONS).map(([action, { label }]) => {
    const button = element("button", { className: "secondary", type: "button", textContent: label, id: `${action}-${name}` });
    button.dataset.action = action;
    button.dataset.service = name;
    button.setAttribute("aria-label", `${label}: ${name}`);
    // Not disabled: that would take the focus away.
    button.setAttribute("aria-disabled", String(busy));
    return button;
  });
  return element("div", { className: "actions" }, ...buttons);
}

function resultView(result) {
  if (!result) return "";
  const box = element(
    "div",
    { className: "result" },
    element("p", { className: "problem-title", textContent: result.title }),
    ...result.lines.map((line) => element("p", { textContent: line })),
  );
  box.dataset.failed = String(result.failed);
  return box;
}

function trafficView(name, weights) {
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  return article(
    `service-${name}`,
    name,
    [],
    element("p", { className: "hint", textContent: "It spreads its requests over other services, by these weights. Each instance shares them out by what it sees; see below." }),
    rows(Object.entries(weights).map(([member, weight]) => [member, `${weight} (${percent.format(weight / total)})`])),
  );
}

// --- This instance ---------------------------------------------------------------------------------------------------

function ownView(name, one) {
  const badge = element("p", { className: "badge", textContent: one.status === "ready" ? "Ready" : "Not ready" });
  badge.dataset.phase = one.status;
  const blocks = one.members ? [sharesView(one.members)] : [rows(ownRows(one))];
  for (const problem of [one.problem, one.credentials?.problem]) if (problem) blocks.push(problemView(problem));
  return article(`own-${name}`, name, [badge], ...blocks);
}

function ownRows({ service, channel, credentials, golden, admission, refusals, errors }) {
  const age = credentials.age_seconds;
  const read = age === null ? "never read" : `read ${away(Date.now() - 1000 * age)}`;
  const { limit, in_progress: inProgress, with_service: sent } = admission;
  return [
    ["Service reports", service],
    ["Channel", channel],
    ["Credentials", `${read}${credentials.stale ? "; stale: Key Vault cannot be read" : ""}`],
    ...(golden ? [["Golden photographs", [golden.result, golden.first_deviation].filter(Boolean).join(": ")]] : []),
    ["Admission", `${inProgress} of ${limit} images in progress: ${sent} with the service, ${inProgress - sent} waiting or being prepared`],
    ["Refusals", counts(refusals)],
    ["Errors", counts(errors)],
  ];
}

function sharesView(members) {
  return rows(
    Object.entries(members).map(([member, { weight, share, state, why }]) => {
      const fill = element("span", { className: "fill" });
      fill.style.inlineSize = `${100 * share}%`;
      const text = `${percent.format(share)} of the requests now, weight ${weight}, ${state}${why ? `: ${why}` : ""}`;
      return [member, element("span", {}, text, hidden("span", "track", fill))];
    }),
  );
}

function counts(found) {
  return Object.entries(found).map(([reason, count]) => `${reason} ${count}`).join(", ") || "none";
}

function megabytes(bytes) {
  return `${Math.round(bytes / 1_000_000)} MB`;
}

// --- Elements --------------------------------------------------------------------------------------------------------

function article(id, title, beside, ...content) {
  const heading = element("h3", { textContent: title, id });
  const found = element("article", { className: "service" }, element("div", { className: "service-head" }, heading, ...beside), ...content);
  found.setAttribute("aria-labelledby", id);
  return found;
}

function block(title, content) {
  return element("section", {}, element("h4", { textContent: title }), ...content);
}

/** A list of names and values; a value is text or an element. */
function rows(pairs) {
  return element("dl", { className: "rows" }, ...pairs.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", {}, value))));
}

function hidden(tag, className, ...children) {
  const node = element(tag, { className }, ...children);
  node.setAttribute("aria-hidden", "true");
  return node;
}

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
