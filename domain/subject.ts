/** A subject without what mail programs and mailing lists put around it. */
export interface PlainSubject {
  /** What two subjects of one conversation have in common: without prefixes and tags, in one case and one spelling of each character. */
  readonly text: string;
  /** A prefix said that it answers or forwards something. */
  readonly isReply: boolean;
  /** A `[tag]` that names a list or a system stood in front; the marks that gateways put on mail from outside are none. */
  readonly hasTag: boolean;
}

/**
 * What programs write before the subject of an answer or of something passed on, by language. What belongs here is written by a program when somebody
 * presses a button; what people type ("was:", "question:") does not. One prefix may answer in one language and forward in another (`VS`: Finnish,
 * Danish), so the two are not told apart.
 */
const prefixes = [
  ["re", "fw", "fwd"], // English, and most others by default
  ["aw", "wg"], // German
  ["sv", "vb", "vs", "vl"], // Swedish, Norwegian, Danish, Finnish
  ["antw", "doorst"], // Dutch
  ["tr", "réf", "ref"], // French; TR is also Turkish
  ["rv"], // Spanish
  ["res", "enc"], // Portuguese
  ["r", "rif", "i"], // Italian
  ["odp", "pd"], // Polish
  ["vá", "továbbítás"], // Hungarian
  ["ynt", "ilt", "i̇lt"], // Turkish
  ["atb"], // Latvian, and Welsh
  ["bls", "trs"], // Indonesian
  ["απ", "πρθ", "σχετ"], // Greek
  ["ответ", "пересл"], // Russian
  ["השב", "תגובה", "הועבר"], // Hebrew
  ["رد", "إعادة توجيه"], // Arabic
  ["回复", "答复", "回覆", "转发", "轉寄", "轉發"], // Chinese
  ["返信", "転送"], // Japanese
  ["회신", "답장", "전달"], // Korean
].flat();

/** What gateways put before the subject of mail from outside: no sign of a list. */
const gatewayMarks = ["ext", "extern", "external", "externe", "externo", "external email", "spam", "suspected spam", "sec=unclassified", "caution"];

/** Longer subjects differ, if they do, before this. */
const lengthMax = 1_000;

// A count in brackets or after a caret is how some programs shorten `Re: Re: Re:`; the colon may be full-width, and the French put a space before it.
const prefix = new RegExp(`(?:${prefixes.join("|")})(?:\\[\\d{1,4}\\]|\\(\\d{1,4}\\)|\\^\\d{1,4})?\\s?[:：]\\s*`, "yu");
const tag = /\[([^[\]]{1,60})\]\s*/y;
const forwardWrapper = /^\[\s*fwd?:\s*(.*)\]$/su;
const trailer = /(?:\s*\((?:fwd|fw)\))+$/u;

/** Looks at each character a bounded number of times: subjects are written by strangers. */
export function plainSubject(subject: string): PlainSubject {
  const whole = subject.slice(0, lengthMax).normalize("NFKC").toLowerCase().replaceAll(/\s+/g, " ").trim();
  const inner = forwardWrapper.exec(whole)?.[1];
  const full = (inner ?? whole).replace(trailer, "");
  let isReply = full !== whole;
  let hasTag = false;
  let at = 0;
  for (;;) {
    const afterPrefix = endOf(prefix, full, at);
    if (afterPrefix !== undefined) {
      isReply = true;
      at = afterPrefix;
      continue;
    }
    const afterTag = endOf(tag, full, at);
    // A subject that is nothing but a tag means it.
    if (afterTag === undefined || afterTag === full.length) break;
    hasTag ||= !gatewayMarks.includes(full.slice(at, afterTag).trim().slice(1, -1));
    at = afterTag;
  }
  return { text: full.slice(at), isReply, hasTag };
}

function endOf(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}
