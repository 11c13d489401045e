/** A source of at most this many bytes is taken, by APPEND and by SMTP. */
export const messageBytesMax = 36_700_160;

/** What works, no more and no less. There is no STARTTLS: the sandbox never leaves the loopback address. */
export const capabilities = [
  "IMAP4rev1",
  "LITERAL+",
  "SASL-IR",
  "AUTH=PLAIN",
  "ID",
  "ENABLE",
  "IDLE",
  "NAMESPACE",
  "CHILDREN",
  "LIST-EXTENDED",
  "LIST-STATUS",
  "SPECIAL-USE",
  "STATUS=SIZE",
  "UIDPLUS",
  "MOVE",
  "UNSELECT",
  "ESEARCH",
  "CONDSTORE",
  `APPENDLIMIT=${messageBytesMax}`,
].join(" ");
