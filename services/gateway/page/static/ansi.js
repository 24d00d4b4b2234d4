/** Terminal text as styled pieces: the colours and weights of SGR sequences; every other control sequence is left out. */

const SEQUENCE = /\x1b\[([0-9;]*)m|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f]/g;
const PLAIN = { colour: null, isBold: false, isDim: false, isUnderlined: false };

function applied(style, code) {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...style, isBold: true };
  if (code === 2) return { ...style, isDim: true };
  if (code === 4) return { ...style, isUnderlined: true };
  if (code === 22) return { ...style, isBold: false, isDim: false };
  if (code === 24) return { ...style, isUnderlined: false };
  if (code === 39) return { ...style, colour: null };
  if (code >= 30 && code <= 37) return { ...style, colour: code - 30 };
  if (code >= 90 && code <= 97) return { ...style, colour: code - 90 };
  return style;
}

/** The codes of a sequence; what sets one of 256 or all colours (38;5;n, 38;2;r;g;b) is skipped whole. */
function codesOf(text) {
  const codes = text.split(";").map(Number);
  const kept = [];
  for (let place = 0; place < codes.length; place += 1) {
    if (codes[place] === 38 || codes[place] === 48) place += codes[place + 1] === 5 ? 2 : 4;
    else kept.push(codes[place]);
  }
  return kept;
}

const classOf = ({ colour, isBold, isDim, isUnderlined }) =>
  [colour === null ? "" : `ansi-${colour}`, isBold && "bold", isDim && "dim", isUnderlined && "underlined"].filter(Boolean).join(" ");

/** Pieces of a line: [{text, className}]. */
export function pieces(line) {
  const found = [];
  let [style, from] = [PLAIN, 0];
  const add = (text) => text && found.push({ text, className: classOf(style) });
  for (const match of line.matchAll(SEQUENCE)) {
    add(line.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[1] !== undefined) style = codesOf(match[1]).reduce(applied, style);
  }
  add(line.slice(from));
  return found;
}
