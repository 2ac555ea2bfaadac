// The gateway's HTTP interface, and its answers as a person understands them.

const API = new URL("../api/", import.meta.url);

// Longer than any deadline of the gateway's own, with room for a slow upload.
const PATIENCE_MS = 120_000;
const HEALTH_PATIENCE_MS = 15_000;

/** Why a picture has no labels: in the words of the gateway's problem document, or in ours where it could not speak. */
export class Problem extends Error {
  constructor({ title, detail = "", remedy = "", kind = "", status = 0, requestId = "" }) {
    super(title);
    Object.assign(this, { title, detail, remedy, kind, status, requestId });
  }

  /** Whether the same picture may fare better another time. */
  get passing() {
    return this.status === 0 || this.status === 401 || this.status === 429 || this.status >= 500;
  }
}

/** Where a service scores; the default one for an empty name. */
export function scoreAddress(service) {
  return new URL(service ? `services/${encodeURIComponent(service)}/score` : "score", API);
}

/**
 * Score one picture.
 *
 * Answers {service, labels, timings, elapsed}: labels as [{label, score}], timings in milliseconds by part, elapsed
 * in milliseconds as seen from here. Throws a Problem.
 */
export async function score(picture, { service, key, signal }) {
  const started = performance.now();
  const response = await send(scoreAddress(service), {
    method: "POST",
    // The content tells what a file is. What is no picture by its name is sent all the same: the answer says more
    // than a refusal here could.
    headers: {
      "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream",
      ...(key && { "x-functions-key": key }),
    },
    body: picture,
    signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
  });
  const document = await parsed(response);
  if (!response.ok || !document?.predictions) throw problemOf(response, document, Boolean(key));
  return {
    service: document.service,
    labels: document.predictions[0].labels,
    timings: serverTimings(response.headers.get("Server-Timing") ?? ""),
    elapsed: performance.now() - started,
  };
}

/** The services and their state: {ready, services: [{name, ready, why}]}. Throws a Problem. */
export async function health() {
  const response = await send(new URL("health/ready", API), { signal: AbortSignal.timeout(HEALTH_PATIENCE_MS) });
  const document = await parsed(response);
  if (!document?.services) throw problemOf(response, document, false);
  const services = Object.entries(document.services).map(([name, state]) => ({
    name,
    ready: state.status === "ready",
    why: state.problem?.title ?? "",
  }));
  return { ready: response.ok, services };
}

/** The header's metrics, in its order: [{name, milliseconds}]. https://www.w3.org/TR/server-timing/ */
export function serverTimings(header) {
  return header
    .split(",")
    .map((metric) => {
      const [name, ...parameters] = metric.split(";").map((part) => part.trim());
      const duration = parameters.find((parameter) => parameter.startsWith("dur="));
      return { name, milliseconds: Number(duration?.slice("dur=".length)) };
    })
    .filter(({ name, milliseconds }) => name && Number.isFinite(milliseconds));
}

async function send(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable(error.name === "TimeoutError");
  }
}

async function parsed(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // The host itself answers without a body, and something on the way may answer with a page.
    return null;
  }
}

function unreachable(late) {
  return new Problem({
    title: late ? "The gateway did not answer in time" : "The gateway can’t be reached",
    detail: late ? "Nothing came back for two minutes." : "The picture did not get there, or the answer did not come back.",
    remedy: "Check this device’s connection, then try again.",
    kind: "unreachable",
  });
}

function problemOf(response, document, keySent) {
  const { status } = response;
  if (document?.title) {
    const { title, detail, remedy, type, request_id: requestId } = document;
    return new Problem({ title, detail, remedy, kind: (type ?? "").split(":").pop(), status, requestId });
  }
  return new Problem({ ...hostsAnswer(status, keySent), status });
}

/** What the Functions host means by an answer without a body. */
function hostsAnswer(status, keySent) {
  switch (status) {
    case 401:
      return {
        kind: "key",
        title: keySent ? "The function key is wrong" : "The gateway asks for a function key",
        detail: keySent ? "The gateway does not know this key, or it is for another function." : "",
        remedy: "Enter the key that you were given; this picture is then scored at once.",
      };
    case 404:
      return { title: "There is nothing to score with", detail: "The gateway has no such function.", remedy: "Reload the page." };
    case 413:
      return { title: "The file is too large", detail: "The gateway takes no upload of this size.", remedy: "Choose a smaller one." };
    case 429:
      return { title: "The gateway has too much to do", remedy: "Wait a little, then try again." };
    default:
      return { title: "The gateway failed", detail: `It answered with the status ${status} and no word of explanation.`, remedy: "Try again shortly." };
  }
}
