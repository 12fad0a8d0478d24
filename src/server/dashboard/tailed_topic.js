// The position of the tail in one topic, and the check of its numbers.

class TailedTopic {
  /** Where to resume: the epoch, and the next expected number (`null`: unknown). */
  epoch = null;
  next = null;
  /** Before the first event: the largest valid number. */
  #latest = null;

  /** The subscription of the topic begins, or goes on at its position. */
  begin({ epoch, seq }) {
    if (epoch !== this.epoch) this.next = null;
    this.epoch = epoch;
    this.#latest = seq + 1;
  }

  /** Without an event yet, resumes at the start of the subscription, so that nothing is missed. */
  beforeResume() {
    if (this.epoch !== null && Number.isFinite(this.#latest)) this.next ??= this.#latest;
  }

  /** The numbers restart. On an open subscription, the notice has the new position. */
  restart(epoch, seq) {
    if (epoch) [this.epoch, this.next, this.#latest] = [epoch, seq + 1, seq + 1];
    else [this.next, this.#latest] = [null, Infinity];
  }

  /** Goes on to `to`. Returns which number was expected. */
  advance(from, to) {
    const expected = this.next ?? Math.min(from, this.#latest);
    this.next = Math.max(to + 1, expected);
    return expected;
  }
}
