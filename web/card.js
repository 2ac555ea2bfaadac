// The card of a picture: a preview, and the progress, the result or the problem.

const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const one = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat();
const few = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });

// The values of an output that are shown.
const SHOWN = 8;

// The steps of a request in the gateway, by their names in Server-Timing.
const PARTS = { decode: "Decode", credentials: "Keys", wait: "Wait", predict: "Predict" };

/** A list item for one file. Its methods set the state; its buttons call `onRetry`, `onRemove` and `onKey`. */
export class Card {
  constructor(file, { onRetry, onRemove, onKey }) {
    this.file = file;
    this.name = file.name || "Pasted picture";
    this.onRetry = onRetry;
    this.onKey = onKey;
    this.meta = element("p", { className: "meta", textContent: size(file.size) });
    this.content = element("div", { className: "content" });
    this.remove = element("button", { className: "quiet remove", type: "button", title: "Remove" });
    this.remove.setAttribute("aria-label", `Remove ${this.name}`);
    this.remove.append(cross());
    this.remove.addEventListener("click", () => onRemove(this));
    this.element = element(
      "li",
      { className: "card" },
      this.preview(),
      element(
        "div",
        { className: "card-body" },
        element(
          "div",
          { className: "card-head" },
          element("h3", { textContent: this.name, title: this.name, dir: "auto" }),
          this.remove,
        ),
        this.meta,
        this.content,
      ),
    );
  }

  /** Remove the card, and release the picture's memory. */
  close() {
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  waiting() {
    this.show("working", working("Queued"));
  }

  preparing() {
    this.show("working", working("Preparing"));
  }

  scoring(sent) {
    const sentSize = sent === this.file ? "" : `, sent as ${size(sent.size)}`;
    this.meta.textContent = size(this.file.size) + sentSize;
    this.show("working", working("Scoring"));
  }

  done({ service, labels, outputs, timings, elapsed }) {
    this.show("done", resultOf(labels, outputs), times(timings, elapsed, service));
  }

  failed(problem) {
    const lines = [problem.detail, problem.remedy].filter(Boolean);
    const box = element(
      "div",
      { className: "problem" },
      element("p", { className: "problem-title", textContent: problem.title }),
      ...lines.map((line) => element("p", { textContent: line })),
    );
    if (problem.requestId) {
      box.append(element("p", { className: "hint", textContent: `Request ${problem.requestId}` }));
    }
    if (problem.kind === "key") box.append(this.button("Enter the key", this.onKey));
    else if (problem.retryable) box.append(this.button("Try again", () => this.onRetry(this)));
    this.show("failed", box);
  }

  show(state, ...content) {
    // If the focus is on a button that is removed, move it to the card's remaining button.
    const hadFocus = this.content.contains(document.activeElement);
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", String(state === "working"));
    this.content.replaceChildren(...content);
    if (hadFocus) this.remove.focus();
  }

  preview() {
    const frame = element("div", { className: "frame" });
    const suffix = this.name.includes(".") ? this.name.split(".").pop().slice(0, 5) : "file";
    frame.dataset.suffix = suffix.toLowerCase();
    this.url = URL.createObjectURL(this.file);
    const image = element("img", { alt: "", src: this.url, decoding: "async" });
    // Without a preview, the frame shows the file's suffix.
    image.addEventListener("error", () => image.remove());
    frame.append(image);
    return frame;
  }

  button(text, onClick) {
    const button = element("button", { className: "secondary", type: "button", textContent: text });
    button.setAttribute("aria-label", `${text}: ${this.name}`);
    button.addEventListener("click", onClick);
    return button;
  }
}

/** A result in one sentence, for screen readers. */
export function summary(name, { labels, outputs }) {
  if (outputs.length) return `${name}: ${outputs.map(describe).join(", ")}`;
  const best = labels[0];
  return best ? `${name}: ${best.label}, ${percent.format(best.score)}` : `${name}: no label reaches the threshold`;
}

function resultOf(labels, outputs) {
  if (outputs.length) return element("dl", { className: "outputs" }, ...outputs.flatMap(outputRow));
  return labels.length ? labelList(labels) : element("p", { textContent: "No label reaches the threshold." });
}

/** An output's name, datatype and shape, and its first values. */
function outputRow(output) {
  const shown = output.data.slice(0, SHOWN).map((value) => (typeof value === "number" ? few.format(value) : String(value)));
  const more = output.data.length > SHOWN ? ["…"] : [];
  return [
    element("dt", { textContent: describe(output), dir: "auto" }),
    element("dd", { textContent: [...shown, ...more].join("  "), dir: "auto" }),
  ];
}

function describe({ name, datatype, shape }) {
  return `${name} ${datatype && `${datatype} `}[${shape.join(", ")}]`;
}

function labelList(labels) {
  return element("ol", { className: "labels" }, ...labels.map(labelRow));
}

function labelRow({ label, score }) {
  const fill = element("span", { className: "fill" });
  fill.style.inlineSize = `${Math.max(0, Math.min(1, score)) * 100}%`;
  const track = element("span", { className: "track" }, fill);
  track.setAttribute("aria-hidden", "true");
  return element(
    "li",
    {},
    element("span", { className: "label", textContent: label }),
    " ",
    element("span", { className: "percent", textContent: percent.format(score) }),
    track,
  );
}

/** The duration of a request and of its steps, as a chart and as text. */
function times(timings, elapsed, service) {
  const total = timings.find(({ name }) => name === "total")?.milliseconds ?? 0;
  const parts = timings.filter(({ name }) => name in PARTS);
  const chart = element("div", { className: "chart" });
  chart.setAttribute("aria-hidden", "true");
  const list = element("dl", { className: "parts" });
  for (const { name, milliseconds } of [...parts, ...otherPart(parts, total)]) {
    if (milliseconds >= total / 200) chart.append(segment(name, milliseconds));
    const term = element("dt", { textContent: PARTS[name] ?? "Other" });
    term.dataset.part = name;
    list.append(element("div", {}, term, element("dd", { textContent: `${one.format(milliseconds)} ms` })));
  }
  const inGateway = total ? `${one.format(total)} ms in the gateway, ` : "";
  const inTotal = `${whole.format(Math.round(elapsed))} ms in total`;
  const sum = element("p", { className: "sum", textContent: `Scored by ${service}: ${inGateway}${inTotal}` });
  return element("div", { className: "times" }, sum, ...(parts.length ? [chart, list] : []));
}

function otherPart(parts, total) {
  const milliseconds = total - parts.reduce((sum, part) => sum + part.milliseconds, 0);
  return milliseconds >= 0.05 ? [{ name: "other", milliseconds }] : [];
}

function segment(name, milliseconds) {
  const bar = element("span", { className: "segment" });
  bar.dataset.part = name;
  bar.style.flexGrow = milliseconds;
  return bar;
}

function working(text) {
  const spinner = element("span", { className: "spinner" });
  spinner.setAttribute("aria-hidden", "true");
  return element("p", { className: "working" }, spinner, text);
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${whole.format(Math.round(bytes / 1000))} KB` : `${one.format(bytes / 1_000_000)} MB`;
}

function cross() {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", "m4 4 8 8m0-8-8 8");
  svg.append(path);
  return svg;
}

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
