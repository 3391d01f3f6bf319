/**
 * The little XML that S3 speaks: elements without attributes, not nested in one of their own name, text with entities.
 * What else there might be in a document is not understood, and not needed.
 */

const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The insides of all elements of a name, in their order, as they stand there. */
export function xmlElements(xml: string, name: string): string[] {
  const begin = new RegExp(`<${name}(?:\\s[^<>]*?)?(/?)>`, "g");
  const end = `</${name}>`;
  const found: string[] = [];
  for (let match = begin.exec(xml); match !== null; match = begin.exec(xml)) {
    const to = match[1] ? begin.lastIndex : xml.indexOf(end, begin.lastIndex);
    if (to < 0) break;
    found.push(xml.slice(begin.lastIndex, to));
    begin.lastIndex = to;
  }
  return found;
}

/** The text of the first element of a name; `undefined` where there is none. */
export function xmlText(xml: string, name: string): string | undefined {
  const [first] = xmlElements(xml, name);
  return first === undefined ? undefined : unescapeXml(first);
}

/** Text, as it may stand in an element. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|([a-z]{2,4}));/g, (whole, decimal, hex, name) => {
    if (name !== undefined) return NAMED[name] ?? whole;
    const point = decimal === undefined ? parseInt(hex, 16) : Number(decimal);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
