/** The part of a trial's output that the page holds: grows at both ends by pages, and at its end by what comes live. */
import { get, to, urlOf } from "./api.js";
import { moment, momentEvent } from "./moment.js";
import { keepOpen } from "./stream.js";

const PAGE_LINES = 1000;
const MOST_LINES = 100_000; // beyond, the oldest make room for what comes live

export class LogWindow {
  /** `onChange({atTop, added})` after every change: how many lines came in at the top. */
  constructor({ trialId, rank, search, fromStart, onChange, onState }) {
    Object.assign(this, { trialId, rank, search: search.toLowerCase(), fromStart, onChange, onState });
    Object.assign(this, { lines: [], before: null, after: 0, isReading: false, isAtEnd: false, frame: null });
    this.controller = new AbortController();
    this.close = () => this.controller.abort();
  }

  read(parameters) {
    const { rank, search, controller } = this;
    const until = momentEvent?.time ?? null;
    return get(to`/trials/${this.trialId}/logs/page`, { signal: controller.signal, parameters: { rank, search, limit: PAGE_LINES, until, ...parameters } });
  }

  async guarded(load) {
    if (this.isReading) return;
    this.isReading = true;
    try {
      await load();
    } catch (error) {
      if (!this.controller.signal.aborted) this.onState("failed", error);
    }
    this.isReading = false;
  }

  open() {
    return this.guarded(async () => {
      if (this.fromStart) {
        await this.readOn();
        return;
      }
      const page = await this.read({});
      Object.assign(this, { lines: page.items, before: page.before, after: page.after });
      this.onChange({ added: 0 });
      this.follow();
    });
  }

  /** Read what is before the first line. */
  older() {
    if (this.before === null) return undefined;
    return this.guarded(async () => {
      const page = await this.read({ before: this.before });
      this.before = page.before;
      this.lines = [...page.items, ...this.lines];
      this.onChange({ added: page.items.length });
    });
  }

  /** Read what is after the last line; once there is no more, follow. */
  newer() {
    return this.isAtEnd || !this.fromStart ? undefined : this.guarded(() => this.readOn());
  }

  async readOn() {
    const page = await this.read({ after: this.after });
    const isEnd = page.after === this.after || page.items.length < PAGE_LINES / 2;
    this.after = page.after;
    this.lines = [...this.lines, ...page.items];
    if (isEnd) this.follow();
    this.onChange({ added: 0 });
  }

  follow() {
    if (this.controller.signal.aborted) return;
    this.isAtEnd = true;
    if (moment !== null) {
      this.onState("past");
      return;
    }
    let partial = 0; // lines of a message that has not come whole
    let skipped = 0; // a reopened stream repeats them
    const stop = keepOpen({
      url: () => {
        [skipped, partial] = [partial, 0];
        return urlOf(to`/trials/${this.trialId}/logs`, { follow: true, rank: this.rank, after: this.after });
      },
      onMessage: (message) => {
        const id = Number(message.lastEventId);
        partial = id > this.after ? 0 : partial + 1;
        this.after = Math.max(this.after, id);
        if (skipped > 0) skipped -= 1;
        else this.take(JSON.parse(message.data));
      },
      onState: this.onState,
      onEnd: () => this.onState("ended"),
    });
    this.close = () => {
      this.controller.abort();
      stop();
      cancelAnimationFrame(this.frame);
    };
  }

  take(line) {
    if (this.search && !line.text.toLowerCase().includes(this.search)) return;
    this.lines.push(line);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const extra = this.lines.length - MOST_LINES;
      if (extra > MOST_LINES / 10) {
        this.lines.splice(0, extra);
        this.before = this.lines[0].seq ?? this.before;
      }
      this.onChange({ added: 0 });
    });
  }
}
