/** Lines of output of which only those in sight are in the document; long ones go on to the right. */
import { pieces } from "../ansi.js";
import { formatTime, formatUtc } from "../format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../view.js";

const LINE_PX = 18; // as in the style sheet
const MARGIN_LINES = 40;
const NEAR_PX = 60;

/** A piece of text with what was searched for marked. */
function Marked({ text, search }) {
  const at = search ? text.toLowerCase().indexOf(search) : -1;
  if (at < 0) return text;
  return html`${text.slice(0, at)}<mark>${text.slice(at, at + search.length)}</mark><${Marked} text=${text.slice(at + search.length)} search=${search} />`;
}

function Line({ line, isGang, search }) {
  return html`<div class="line from-${line.stream}" title=${`${formatUtc(line.time)} · rank ${line.rank} · attempt ${line.epoch} · ${line.stream}`}><span class="clock">${formatTime(line.time)} ${isGang && `[${line.rank}] `}</span>${pieces(line.text).map(
    ({ text, className }, number) => html`<span key=${number} class=${className}><${Marked} text=${text} search=${search} /></span>`,
  )}</div>`;
}

/** `added` lines came in at the top since the last version: the view stays on what was in sight. */
export function LogLines({ lines, version, added, isFollowing, isGang, search, onTop, onEnd }) {
  const frame = useRef(null);
  const sheet = useRef(null);
  const wasAtEnd = useRef(isFollowing);
  const [first, setFirst] = useState(0);
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = frame.current;
    wasAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    setFirst(Math.max(0, Math.floor(scrollTop / LINE_PX) - MARGIN_LINES));
    if (scrollTop < NEAR_PX) onTop();
    if (wasAtEnd.current) onEnd();
  };
  const count = Math.ceil((frame.current?.clientHeight ?? 420) / LINE_PX) + 2 * MARGIN_LINES;
  const begin = Math.min(first, Math.max(0, lines.length - count));
  useLayoutEffect(() => {
    sheet.current.style.height = `${lines.length * LINE_PX}px`;
    if (added > 0) frame.current.scrollTop += added * LINE_PX;
    else if (wasAtEnd.current && isFollowing) frame.current.scrollTop = frame.current.scrollHeight;
  }, [version]);
  useLayoutEffect(() => {
    sheet.current.firstElementChild.style.transform = `translateY(${begin * LINE_PX}px)`;
  });
  useEffect(look, [version]);
  return html`<div ref=${frame} class="logs" role="log" aria-label="Trial output" tabindex="0" onScroll=${look}>
    <div ref=${sheet} class="log-sheet"><div>${lines.slice(begin, begin + count).map((line, number) => html`<${Line} key=${begin + number} line=${line} isGang=${isGang} search=${search} />`)}</div></div>
  </div>`;
}
