// The words for what GET /api/operations answers: dates, remaining days, steps, and what a button will do.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

// Remaining days from which a certificate's expiry is urgent, or soon: as the gateway's alerts have it.
const URGENT = 3;
const SOON = 14;

export const PHASES = {
  pinning: "Pin",
  propagating: "Propagate",
  updating: "Update",
  verifying: "Verify",
  grace: "Grace time",
  "dropping-pins": "Drop old pins",
  steady: "Steady",
  stopped: "Stopped",
  "rolling-back": "Rolling back",
};

export const STATES = { done: "done", current: "now", ahead: "to come", stopped: "stopped here", "rolling-back": "failed" };

/** A date as UTC, which is the same for all who look: 2026-11-23 11:18:22 UTC. */
export function utc(iso) {
  return `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** How far away a date is: in 4 minutes, 12 days ago. */
export function away(iso, now = Date.now()) {
  return span((new Date(iso) - now) / 1000);
}

function span(seconds) {
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= 2 * size) ?? ["second", 1];
  return relative.format(Math.trunc(seconds / length), unit);
}

/** What is left of a certificate's validity: {level, text, share}; the share is from 0 to 1. */
export function remaining({ not_before: begin, not_after: end, days_left: days }) {
  if (days <= 0) return { level: "expired", text: `Expired ${span(days * 86_400)}`, share: 0 };
  const left = days < 2 ? `${Math.trunc(24 * days)} hours left` : `${Math.trunc(days)} days left`;
  const level = days < URGENT ? "urgent" : days < SOON ? "soon" : "fine";
  const text = { urgent: `Urgent: ${left}`, soon: `Soon: ${left}`, fine: left }[level];
  return { level, text, share: Math.min(1, (days * 86_400_000) / (new Date(end) - new Date(begin))) };
}

export const COLUMNS = { served: "Served", pinned: "Pinned", stored: "Stored" };
const PARTS = { ...COLUMNS, keys: "Keys", rotation: "Rotation" };

/** The certificates of a part: of several addresses with those, or the problem of one. */
export function certificates({ addresses, certificates: several, certificate }) {
  const heading = ({ address }) => (addresses.length > 1 ? address : "");
  if (addresses) return addresses.map((one) => ({ ...one.certificate, problem: one.problem, heading: heading(one) }));
  return several ?? (certificate ? [certificate] : []);
}

/** What somebody should look at: [{name, lines}], of services for which there is anything. */
export function concerns({ shared, instance }) {
  const names = [...new Set([...Object.keys(shared.services), ...Object.keys(instance.services)])];
  return names
    .map((name) => ({ name, lines: [...sharedConcerns(shared.services[name] ?? {}), ...ownConcerns(instance.services[name] ?? {})] }))
    .filter(({ lines }) => lines.length);
}

function sharedConcerns(parts) {
  return Object.entries(parts).flatMap(([part, found]) => [
    ...(found.problem ? [`${PARTS[part]}: ${found.problem.title}`] : []),
    ...certificates(found).flatMap((one) => certificateConcerns(PARTS[part], one)),
    ...(["stopped", "rolling-back"].includes(found.phase) ? [`${PARTS[part]}: ${found.last_error ?? PHASES[found.phase].toLowerCase()}`] : []),
  ]);
}

function certificateConcerns(part, one) {
  if (one.problem) return [`${part} at ${one.heading}: ${one.problem.title}`];
  if (!one.fingerprint) return [];
  const { level, text } = remaining(one);
  return level === "fine" ? [] : [`${part}: ${short(one.fingerprint)}, ${text.toLowerCase()}`];
}

function ownConcerns({ status, problem, credentials, golden }) {
  return [
    ...(status === "not-ready" ? [`Not ready on this instance${problem ? `: ${problem.title}` : ""}`] : []),
    ...(golden?.first_deviation ? [`Golden photographs: ${golden.result} match`] : []),
    ...(credentials?.stale ? ["This instance's keys and pins are not renewed"] : []),
  ];
}

/** The first digits of a fingerprint, as the gateway's own messages have them. */
export function short(fingerprint) {
  return (fingerprint ?? "").slice(0, 16);
}

/** What a rotation does next, and when. */
export function nextStep(step) {
  const certificate = `the certificate ${short(step.fingerprint)}`;
  switch (step.action) {
    case "nothing":
      return "Nothing to do.";
    case "wait":
      return `Wait until ${utc(step.until)} (${away(step.until)})${step.detail ? `: ${step.detail}` : ""}.`;
    case "stop":
      return [
        `Stopped: ${step.reason}.`,
        step.detail && sentence(step.detail),
        step.until ? `It is tried again at ${utc(step.until)}.` : "A person, or another certificate, is needed.",
      ].filter(Boolean).join(" ");
    case "add-pin":
      return `The next run pins ${certificate} beside the others.`;
    case "update":
      return `The next run has the service serve ${certificate}.`;
    case "roll-back":
      return `The next run has the service serve the last good certificate again: ${short(step.fingerprint)}.`;
    case "verify":
      return `The next run verifies ${certificate} by a handshake and a scored request.${step.detail ? ` So far: ${step.detail}.` : ""}`;
    case "drop-old-pins":
      return `The next run drops the pins beside ${certificate}.`;
    case "note-failure":
      return `The next run notes that the update to ${certificate} failed: ${step.reason}.`;
    case "note-update":
      return "The next run notes that the update has ended.";
    case "store":
      return `The next run stores the ${step.key} key in Key Vault.`;
    case "regenerate":
      return `The next run regenerates the ${step.key} key.`;
    case "finish":
      return "The next run notes that both keys were replaced.";
    default:
      return step.action;
  }
}

export function sentence(text) {
  const line = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

/** What the buttons do: their request, and, where it changes something, what to say before. */
export const ACTIONS = {
  dry: { label: "Dry run", body: { dry_run: true } },
  run: {
    label: "Run now",
    body: {},
    title: (name) => `Run the rotation of ${name} now?`,
    lines: (rotation) => [
      "It takes the steps that can be taken now, as the timer’s next run does. It shortens no waiting time.",
      ...(rotation?.next_step ? [nextStep(rotation.next_step)] : []),
    ],
  },
  keys: {
    label: "Rotate keys",
    body: { rotate_keys: true },
    title: (name) => `Replace both keys of ${name}?`,
    lines: () => [
      "Both keys are replaced, one after the other, at the service and in Key Vault. It starts now, and takes several minutes.",
      "Requests go on: at any time there is a valid key that every gateway has read. Others who use these keys need the new ones.",
    ],
  },
  retry: {
    label: "Retry",
    body: { retry: true },
    title: (name) => `Forget what failed at ${name}, and try again?`,
    lines: (rotation) => [
      "Pauses after failures are skipped: an update that failed is sent to the service again at once. Do that when the cause is gone.",
      ...(rotation?.failed?.length
        ? rotation.failed.map((one) => `Failed: ${short(one.fingerprint)}, ${one.reason}, at ${utc(one.at)}. ${one.detail}`)
        : ["Nothing is noted as failed at the moment: this does the same as Run now."]),
    ],
  },
};

/** The result of a button: {title, lines, failed}. */
export function outcome(action, result) {
  const { label } = ACTIONS[action];
  const events = (result.events ?? []).map((one) => `${one.event}: ${one.detail}`);
  const next = result.next_step ? [`Next: ${nextStep(result.next_step)}`] : [];
  const keyStep = result.keys?.next_step ? [`Keys: ${nextStep(result.keys.next_step)}`] : [];
  if (result.problem) {
    const { title, detail, remedy } = result.problem;
    return { title: `${label}: ${title}`, lines: [detail, remedy, ...events].filter(Boolean), failed: true };
  }
  if (action === "dry") return { title: `${label}: nothing was changed`, lines: [...next, ...keyStep], failed: false };
  const title = events.length ? `${label}: done` : `${label}: there was no step to take now`;
  return { title, lines: [...events, ...next, ...keyStep], failed: false };
}
