/** A server-sent event stream that stays open while the page is looked at.
 *
 * Browsers allow six connections to one server over HTTP/1.1, shared by all tabs, so a hidden tab gives its
 * own back; and they give up for good after an HTTP error, as a restarting server may send. So every opening
 * is ours, with a growing pause after failures, from the place that `url()` names at that moment.
 */

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 5000;

/** Open the stream; `onState` hears "open", "lost" and "asleep". Returns the function that closes it for good. */
export function keepOpen({ url, onMessage, onState = () => {}, onEnd = () => {} }) {
  let source = null;
  let timer = null;
  let failures = 0;

  function leave() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }
  function close() {
    leave();
    document.removeEventListener("visibilitychange", follow);
  }
  function retry() {
    leave();
    onState("lost");
    timer = setTimeout(open, Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS));
    failures += 1;
  }
  function open() {
    source = new EventSource(url());
    source.onopen = () => {
      failures = 0;
      onState("open");
    };
    source.onmessage = onMessage;
    source.onerror = retry;
    source.addEventListener("end", () => {
      close();
      onEnd();
    });
  }
  function follow() {
    leave();
    if (document.hidden) onState("asleep");
    else open();
  }

  document.addEventListener("visibilitychange", follow);
  follow();
  return close;
}
