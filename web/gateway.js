// Requests to the gateway's HTTP API, and its errors as problems to show.

export const API = new URL("../api/", import.meta.url);

// Longer than the gateway's own deadlines, to allow for a slow upload.
const TIMEOUT_MS = 120_000;
const HEALTH_TIMEOUT_MS = 15_000;

/** The error of a request: the gateway's problem document, or the page's own text if there is none. */
export class Problem extends Error {
  constructor({ title, detail = "", remedy = "", kind = "", status = 0, requestId = "" }) {
    super(title);
    Object.assign(this, { title, detail, remedy, kind, status, requestId });
  }

  /** Whether another request with the same picture may succeed. */
  get retryable() {
    return this.status === 0 || this.status === 401 || this.status === 429 || this.status >= 500;
  }
}

/** The URL for scoring with a service, or with the default service if the name is empty. */
export function scoreUrl(service) {
  return new URL(service ? `services/${encodeURIComponent(service)}/score` : "score", API);
}

/**
 * Score one picture.
 *
 * Returns {service, labels, outputs, timings, elapsed}: labels as [{label, score}], outputs, of a service that returns
 * no labels, as [{name, datatype, shape, data}], timings as [{name, milliseconds}] of the gateway's steps, elapsed as the
 * milliseconds of the whole request. Throws a Problem.
 */
export async function score(picture, { service, key, signal }) {
  const started = performance.now();
  const response = await send(scoreUrl(service), {
    method: "POST",
    // The gateway detects the format by the content. Files of other types are sent too: its error names the cause.
    headers: {
      "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream",
      ...(key && { "x-functions-key": key }),
    },
    body: picture,
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  const document = await parsed(response);
  if (!response.ok || !document?.predictions) throw problemOf(response, document, Boolean(key));
  return {
    service: document.service,
    labels: document.predictions[0].labels,
    outputs: outputsOf(document.predictions[0]),
    timings: serverTimings(response.headers.get("Server-Timing") ?? ""),
    elapsed: performance.now() - started,
  };
}

/** The outputs of a service that returns them, or its scores as one; none where it returns labels. */
function outputsOf({ labels, scores, outputs }) {
  if (outputs) return outputs;
  if (labels.length || !scores) return [];
  return [{ name: "scores", datatype: "", shape: [scores.length], data: scores }];
}

/** The state of the services: {ready, services: [{name, ready, cause}]}. Throws a Problem. */
export async function health() {
  const response = await send(new URL("health/ready", API), { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
  const document = await parsed(response);
  if (!document?.services) throw problemOf(response, document, false);
  const services = Object.entries(document.services).map(([name, state]) => ({
    name,
    ready: state.status === "ready",
    cause: state.problem?.title ?? "",
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

export async function send(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable(error.name === "TimeoutError");
  }
}

export async function parsed(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // The Functions host's own responses have no body, and those of a proxy may be HTML.
    return null;
  }
}

function unreachable(timedOut) {
  return new Problem({
    title: timedOut ? "The gateway did not respond in time" : "The gateway can’t be reached",
    detail: timedOut ? "" : "The request could not be sent, or its response was lost.",
    remedy: "Check this device’s connection, then try again.",
    kind: "unreachable",
  });
}

export function problemOf(response, document, keySent) {
  const { status } = response;
  if (document?.title) {
    const { title, detail, remedy, type, request_id: requestId } = document;
    return new Problem({ title, detail, remedy, kind: (type ?? "").split(":").pop(), status, requestId });
  }
  return new Problem({ ...hostProblem(status, keySent), status });
}

/** The problem for a response of the Functions host, which has no body. */
function hostProblem(status, keySent) {
  switch (status) {
    case 401:
      return {
        kind: "key",
        title: keySent ? "The function key is wrong" : "A function key is required",
        detail: keySent ? "The key does not exist, or it is for another function." : "",
        remedy: "Enter a valid key; this picture is then scored.",
      };
    case 404:
      return { title: "The function was not found", detail: "The gateway has no such function.", remedy: "Reload the page." };
    case 413:
      return { title: "The file is too large", detail: "The gateway does not accept uploads of this size.", remedy: "Choose a smaller one." };
    case 429:
      return { title: "The gateway is overloaded", remedy: "Wait a moment, then try again." };
    default:
      return { title: "The gateway failed", detail: `It responded with status ${status} and no details.`, remedy: "Try again shortly." };
  }
}
