import { compile } from "html-to-text";

/** Beyond this, mark-up is cut: what shows as preview stands at the beginning, and converting costs time on the main thread. */
const inputLengthMax = 256 * 1024;

const convert = compile({
  wordwrap: false,
  limits: { maxInputLength: inputLengthMax, maxDepth: 60, maxChildNodes: 5_000 },
  selectors: [
    { selector: "a", options: { ignoreHref: true } },
    { selector: "img", format: "skip" },
    { selector: "table", format: "block" },
    { selector: "tr", format: "block" },
    { selector: "td", format: "inline" },
    ...["h1", "h2", "h3", "h4", "h5", "h6"].map((selector) => ({ selector, options: { uppercase: false } })),
  ],
});

/** HTML as the text that a person would read: no links, no pictures, no mark-up. Never throws; what cannot be converted loses its tags. */
export function htmlToText(html: string): string {
  try {
    return convert(html);
  } catch {
    return html.slice(0, inputLengthMax).replace(/<[^<>]*>/g, " ");
  }
}
