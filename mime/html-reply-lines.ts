import { parseDocument } from "htmlparser2";
import { cutMark } from "../domain/reply-text.ts";

/** Beyond this, mark-up is cut: an answer stands at the beginning. */
const inputLengthMax = 2 * 1024 * 1024;
/** Mail is nested a few dozen deep by years of answers; deeper is an attack, and its text is left out. */
const depthMax = 400;

/**
 * HTML as lines of text for `extractReply`: quotations that mark-up names are marked with `>`, or cut with `cutMark` where all that follows is quoted.
 * Signatures that mark-up names are left out.
 */
export function htmlReplyLines(html: string): string {
  const writer = createWriter();
  for (const node of parseDocument(html.slice(0, inputLengthMax)).children) {
    if (!write(node, writer, 0)) break;
  }
  return writer.text();
}

type Node = ReturnType<typeof parseDocument>["children"][number];
type Element = Extract<Node, { attribs: unknown }>;

/** Writes a node; false once the rest of the message is a quotation. */
function write(node: Node, writer: Writer, depth: number): boolean {
  if (node.type === "text") {
    writer.text(node.data);
    return true;
  }
  if (!("attribs" in node) || depth > depthMax || unseen.has(node.name) || isHidden(node)) return true;
  const role = roleOf(node);
  if (role === "cut") {
    writer.cut();
    return false;
  }
  if (role === "signature") return true;
  if (node.name === "br") writer.line();
  if (node.name === "hr") writer.rule();
  const isBlock = !inline.has(node.name);
  if (isBlock) writer.block(paragraphs.has(node.name));
  if (role === "quote") writer.quote(1);
  let goesOn = true;
  for (const child of node.children) {
    goesOn = write(child, writer, depth + 1);
    if (!goesOn) break;
  }
  if (isBlock) writer.block(paragraphs.has(node.name));
  if (role === "quote") writer.quote(-1);
  // A cut within a quotation ends the quotation only.
  return goesOn || role === "quote";
}

const unseen: ReadonlySet<string> = new Set(["head", "style", "script", "title", "template", "noscript", "object", "iframe", "svg", "math"]);
const inline: ReadonlySet<string> = new Set(
  "a abbr b bdi bdo big cite code del dfn em font i img ins kbd label mark q s samp small span strike strong sub sup time tt u var wbr o:p st1:place br hr td th".split(
    " ",
  ),
);
const paragraphs: ReadonlySet<string> = new Set(["p", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre"]);

type Role = "quote" | "cut" | "signature" | undefined;

/** What mail programs call the element in which they quote. Behind `cut`, everything is quoted; a `quote` ends with its element. */
const classRoles: Readonly<Record<string, Role>> = {
  gmail_quote: "quote",
  gmail_quote_container: "quote",
  gmail_extra: undefined,
  "moz-cite-prefix": undefined,
  yahoo_quoted: "quote",
  "yahoo-quoted-begin": "cut",
  protonmail_quote: "quote",
  tutanota_quote: "quote",
  zmail_extra: "quote",
  zmail_extra_hr: "cut",
  freshdesk_quote: "quote",
  front_quoted: "quote",
  "front-blockquote": "quote",
  "ms-outlook-mobile-reference-message": "cut",
  "ms-outlook-mobile-body-separator-line": undefined,
  gmail_signature: "signature",
  gmail_signature_prefix: "signature",
  "moz-signature": "signature",
  protonmail_signature_block: "signature",
  "yahoo-signature": "signature",
  "ms-outlook-mobile-signature": "signature",
};
const idRoles: Readonly<Record<string, Role>> = {
  divrplyfwdmsg: "cut",
  appendonsend: "cut",
  replyblockquote: "quote",
  olk_src_body_section: "cut",
  "mail-editor-reference-message-container": "cut",
  isforwardcontent: "cut",
  isreplycontent: "cut",
  zwchr: "cut",
  stoposubject: "cut",
  mailcontainerbody: undefined,
  signature: "signature",
  "ms-outlook-mobile-signature": "signature",
  applemailsignature: "signature",
};

function roleOf(node: Element): Role {
  const { id = "", name = "", style = "", type = "" } = node.attribs;
  // Outlook on the web puts x_ before what it was given.
  const classes = (node.attribs.class ?? "").toLowerCase().split(/\s+/);
  for (const one of [...classes, ...classes.map((each) => each.replace(/^(x_)+/, ""))]) {
    const role = classRoles[one];
    // Gmail puts its attribution and the quoted letter into one element; answers between the lines stand there too.
    if (role === "quote" && node.name !== "blockquote" && hasBlockquote(node)) return undefined;
    if (role !== undefined) return role;
  }
  const byId = idRoles[id.toLowerCase().replace(/^(x_)+/, "")];
  if (byId !== undefined) return byId;
  if (node.name === "blockquote") return "quote";
  if (/^(messageReplySection|quote)$/.test(name) || (type === "cite" && node.name !== "a")) return "quote";
  if (node.attribs["data-marker"] === "__QUOTED_TEXT__") return "cut";
  if (node.attribs["data-signatureblock"] === "true" || node.attribs["data-smartmail"] === "gmail_signature") return "signature";
  return isOutlookBorder(node, style) ? "cut" : undefined;
}

function hasBlockquote(node: Element): boolean {
  const stack: Node[] = [...node.children];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (!("attribs" in next)) continue;
    if (next.name === "blockquote") return true;
    stack.push(...next.children);
  }
  return false;
}

/** Word and Windows Mail draw a line above the header block of what they quote, and nothing else so: the block has to be there as well. */
function isOutlookBorder(node: Element, style: string): boolean {
  if (node.name !== "div" || !/border(-top)?(-[a-z]+)?\s*:[^;]*\b(solid|1(\.0)?p[tx])/i.test(style) || !/border-top|border:\s*none/i.test(style))
    return false;
  const text = textOf(node).trimStart();
  return /^[\p{L} ]{1,20}\s?[:：]/u.test(text);
}

/** The beginning of an element's text. */
function textOf(node: Element): string {
  let text = "";
  const stack: Node[] = [node];
  for (let next = stack.pop(); next !== undefined && text.trim().length < 100; next = stack.pop()) {
    if (next.type === "text") text += next.data;
    else if ("attribs" in next) stack.push(...next.children.toReversed());
  }
  return text;
}

function isHidden({ attribs }: Element): boolean {
  return attribs.hidden !== undefined || /display\s*:\s*none/i.test(attribs.style ?? "");
}

interface Writer {
  text(data: string): void;
  text(): string;
  line(): void;
  rule(): void;
  block(isParagraph: boolean): void;
  quote(by: 1 | -1): void;
  cut(): void;
}

function createWriter(): Writer {
  const lines: string[] = [];
  let current = "";
  let quoted = 0;
  let isOpen = false;
  const flush = () => {
    lines.push(quoted > 0 ? `${">".repeat(quoted)} ${current.trim()}` : current.trim());
    current = "";
    isOpen = false;
  };
  const block = (isParagraph: boolean) => {
    if (isOpen && current.trim() !== "") flush();
    current = "";
    isOpen = false;
    if (isParagraph && lines.at(-1) !== "" && quoted === 0) lines.push("");
  };
  function text(): string;
  function text(data: string): void;
  function text(data?: string): string | undefined {
    if (data === undefined) {
      if (isOpen) flush();
      return lines.join("\n");
    }
    const words = data.replace(/[ \t\r\n\f\u00a0]+/g, " ");
    if (words.trim() === "" && current === "") return undefined;
    current += words;
    isOpen = true;
    return undefined;
  }
  return {
    text,
    line: flush,
    rule() {
      block(false);
      lines.push("________");
    },
    block,
    quote(by) {
      block(false);
      quoted += by;
    },
    cut() {
      block(false);
      lines.push(cutMark);
    },
  };
}
