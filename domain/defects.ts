/**
 * What is wrong with a message, as far as it was noticed while reading it. A defect keeps no message back: what can be read is kept, and this says
 * what could not. Codes are for ever; a reader ignores those it does not know.
 */
export const defects = {
  control_characters: "A header holds NULs or other control characters; they were left out.",
  invalid_utf8: "A header or a file name holds bytes that are no text in the charset it names; they show as U+FFFD.",
  raw_header_bytes: "A header holds bytes beyond ASCII that name no charset; they were read as the message's own charset, UTF-8 or windows-1252.",
  unknown_charset: "The text names a charset that does not exist; it is read as UTF-8 or windows-1252.",
  message_id_missing: "There is no Message-ID; the message is known by sender, date, size and subject.",
  sender_missing: "There is no usable From.",
  date_missing: "There is no Date; `receivedAt` tells when the message came.",
  date_invalid: "The Date makes no sense; `receivedAt` tells when the message came.",
  date_future: "The Date lies more than a day behind the arrival.",
  recipients_truncated: "To, Cc and Bcc name more addresses than are kept; `recipientsTotal` counts them all.",
  attachments_truncated: "There are more parts than are listed.",
  structure_unreadable: "The server gave no readable structure: text and attachments are not known.",
  envelope_unreadable: "The server gave no readable header: little more than the existence of the message is known.",
} as const satisfies Readonly<Record<string, string>>;

export type Defect = keyof typeof defects;

export const defectCodes = Object.keys(defects) as readonly Defect[];
