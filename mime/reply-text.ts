import { extractReply, type ReplyText } from "../domain/reply-text.ts";
import { htmlReplyLines } from "./html-reply-lines.ts";

/**
 * What a person wrote, without quotes and signature, from whichever form of a message there is. Both forms say the same in most mail: the plain one is
 * the shorter way. Where it shows no quotation, mark-up may: some programs mark quotes in HTML and nothing in the text that they make of it.
 */
export function replyText(message: { readonly text: string | null; readonly html: string | null }): ReplyText {
  const byText = message.text === null || message.text.trim() === "" ? undefined : extractReply(message.text);
  if (message.html === null || message.html.trim() === "") return byText ?? extractReply("");
  if (byText !== undefined && isQuotation(byText)) return byText;
  const byHtml = extractReply(htmlReplyLines(message.html));
  return byText !== undefined && !isQuotation(byHtml) ? byText : byHtml;
}

function isQuotation({ source }: ReplyText): boolean {
  return source !== "whole_text" && source !== "signature";
}
