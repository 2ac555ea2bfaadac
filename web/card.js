// A picture's card: the picture, and beside it what is known of it so far.

const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const one = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat();

// The parts of a request in the gateway, by their names in Server-Timing.
const PARTS = { decode: "Decode", credentials: "Keys", wait: "Wait", predict: "Predict" };

/** A list item for one file. Its methods show what happens to the file; buttons call `onRetry` and `onRemove`. */
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

  /** Let go of the picture's memory. */
  close() {
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  waiting() {
    this.show("working", working("Waiting for its turn"));
  }

  preparing() {
    this.show("working", working("Preparing"));
  }

  scoring(sent) {
    const whatIsSent = sent === this.file ? "" : `, sent as ${size(sent.size)}`;
    this.meta.textContent = size(this.file.size) + whatIsSent;
    this.show("working", working("Scoring"));
  }

  done({ service, labels, timings, elapsed }) {
    const shown = labels.length ? labelList(labels) : element("p", { textContent: "No label is likely enough." });
    this.show("done", shown, times(timings, elapsed, service));
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
    else if (problem.passing) box.append(this.button("Try again", () => this.onRetry(this)));
    this.show("failed", box);
  }

  show(state, ...content) {
    // The button that was pressed goes; whoever pressed it by keyboard stays in this card.
    const held = this.content.contains(document.activeElement);
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", String(state === "working"));
    this.content.replaceChildren(...content);
    if (held) this.remove.focus();
  }

  preview() {
    const frame = element("div", { className: "frame" });
    const suffix = this.name.includes(".") ? this.name.split(".").pop().slice(0, 5) : "file";
    frame.dataset.suffix = suffix.toLowerCase();
    this.url = URL.createObjectURL(this.file);
    const image = element("img", { alt: "", src: this.url, decoding: "async" });
    // Without a picture to show, the frame says what kind of file it is.
    image.addEventListener("error", () => image.remove());
    frame.append(image);
    return frame;
  }

  button(text, onClick) {
    const made = element("button", { className: "secondary", type: "button", textContent: text });
    made.setAttribute("aria-label", `${text}: ${this.name}`);
    made.addEventListener("click", onClick);
    return made;
  }
}

/** What a score says in one sentence, for those who listen. */
export function spoken(name, { labels }) {
  const best = labels[0];
  return best ? `${name}: ${best.label}, ${percent.format(best.score)}` : `${name}: no label is likely enough`;
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

/** Where the time went: a strip, its parts in words, and the sum as seen from here. */
function times(timings, elapsed, service) {
  const total = timings.find(({ name }) => name === "total")?.milliseconds ?? 0;
  const parts = timings.filter(({ name }) => name in PARTS);
  const strip = element("div", { className: "strip" });
  strip.setAttribute("aria-hidden", "true");
  const words = element("dl", { className: "parts" });
  for (const { name, milliseconds } of [...parts, ...rest(parts, total)]) {
    if (milliseconds >= total / 200) strip.append(piece(name, milliseconds));
    const term = element("dt", { textContent: PARTS[name] ?? "Other" });
    term.dataset.part = name;
    words.append(element("div", {}, term, element("dd", { textContent: `${one.format(milliseconds)} ms` })));
  }
  const inGateway = total ? `${one.format(total)} ms in the gateway, ` : "";
  const inAll = `${whole.format(Math.round(elapsed))} ms in all`;
  const summary = element("p", { className: "sum", textContent: `Scored by ${service}: ${inGateway}${inAll}` });
  return element("div", { className: "times" }, summary, ...(parts.length ? [strip, words] : []));
}

function rest(parts, total) {
  const milliseconds = total - parts.reduce((sum, part) => sum + part.milliseconds, 0);
  return milliseconds >= 0.05 ? [{ name: "other", milliseconds }] : [];
}

function piece(name, milliseconds) {
  const made = element("span", { className: "piece" });
  made.dataset.part = name;
  made.style.flexGrow = milliseconds;
  return made;
}

function working(text) {
  const wheel = element("span", { className: "wheel" });
  wheel.setAttribute("aria-hidden", "true");
  return element("p", { className: "working" }, wheel, text);
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${whole.format(Math.round(bytes / 1000))} KB` : `${one.format(bytes / 1_000_000)} MB`;
}

function cross() {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", "m4 4 8 8m0-8-8 8");
  drawing.append(path);
  return drawing;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
