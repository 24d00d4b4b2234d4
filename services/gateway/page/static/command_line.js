/** What is asked for on a form, as the `tm` command that asks for the same; quoted for a POSIX shell. */

const PLAIN = /^[\w@%+=:,./-]+$/;

const quoted = (word) => (PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** commandLine("user grant", ["anna", "editor"], { "--workspace": "vision" }).
 *
 * Empty words stand in capitals, as what is to be filled in (`["", "NAME"]`); options that are null or false are left
 * out, true is a bare flag, a list gives the option once for each.
 */
export function commandLine(verb, words, options = {}) {
  const told = words.map((word) => (Array.isArray(word) ? (word[0] ? quoted(String(word[0])) : word[1]) : quoted(String(word))));
  const given = Object.entries(options).flatMap(([name, value]) => {
    if (value === null || value === undefined || value === false) return [];
    if (value === true) return [name];
    return [value].flat().map((each) => `${name} ${quoted(String(each))}`);
  });
  return ["tm", verb, ...told, ...given].join(" ");
}
