import type { Address } from "./address.ts";

/** What a message is besides being mail, as far as its header and structure tell without reading it. */
export const traitKinds = ["auto_reply", "mailing_list", "bulk", "bounce", "complaint"] as const;
export type TraitKind = (typeof traitKinds)[number];

/** A trait and what it rests on, in the words of the header: `Auto-Submitted: auto-replied`. */
export interface Trait {
  readonly kind: TraitKind;
  readonly source: string;
}

/** What the traits are read from. */
export interface TraitFacts {
  /** Header fields by lower-case name, unfolded, in the order of the message; `traitHeaders` are asked for. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly from: readonly Address[];
  readonly subject: string;
  /** The Content-Type of the whole; null where the structure is not known. */
  readonly contentType: string | null;
  /** The report-type parameter of a multipart/report (RFC 6522). */
  readonly reportType: string | null;
  /** The types of all parts, attached messages' own left out. */
  readonly partTypes: readonly string[];
}

/** The header fields that are listed for the sake of traits. Each one costs bytes for every message there is: none without a rule below. */
export const traitHeaders = [
  "Return-Path",
  "Auto-Submitted",
  "Precedence",
  "List-Id",
  "List-Unsubscribe",
  "X-Autoreply",
  "X-Autorespond",
  "X-Failed-Recipients",
] as const;

/** The traits of a message, at most one of a kind, each by the first of its rules that holds. */
export function traitsOf(facts: TraitFacts): readonly Trait[] {
  const traits: Trait[] = [];
  for (const [kind, rules] of rulesByKind) {
    for (const rule of rules) {
      const source = rule(facts);
      if (source === undefined) continue;
      traits.push({ kind, source: source.slice(0, sourceLengthMax) });
      break;
    }
  }
  return traits;
}

/** A header's value is quoted in a trait; nobody needs more of it to see what was meant. */
const sourceLengthMax = 200;

type Rule = (facts: TraitFacts) => string | undefined;

/**
 * Software that speaks for itself about mail that it could not deliver. Compared with the local part and the display name, without punctuation, so that
 * `"Mail Delivery System"` and `Mail.Delivery.System@…` are one.
 */
const deliveryAgents =
  /^(mailer ?daemon|m ?daemon|postmaster|mail delivery (sub)?system|mail deliver system|system administrator|mail administrator|internet mail delivery|mms?c ndr administrator|microsoft exchange|e500 smtp mail service|courier mail server|bounce notification)\b/;

/** How subjects say that mail did not reach somebody, in the words of mail servers. Matched anywhere, in lower case. */
const failurePhrases: readonly RegExp[] = [
  /undeliver(ed|able)/,
  /(mail|message|delivery|e-?mail) (has |have )?fail(ed|ure)/,
  /fail(ed|ure)[ -](of )?(notice|delivery)/,
  /delivery (status )?(notification|report)[ :]*\(?(failure|failed|error)/,
  /^delivery status notification$/,
  /(could|can) ?not be (sent|delivered)/,
  /mail delivery (problem|error)/,
  /returned (mail|to sender|message)/,
  /returning message to sender/,
  /error (sending|during|in) (your )?(mail|delivery)/,
  /(user|recipient|address|mailbox)( is)? (unknown|not found|does not exist)/,
  /mail(box)? (quota|is) (exceeded|full)/,
  /processing error/,
  /unzustellbar/,
  /nicht zugestellt|konnte nicht zugestellt/,
  /non remis|non distribu|échec de (la )?(remise|distribution)|utilisateur non recensé/,
  /no se (ha podido|pudo) entregar|no entregad|error de entrega|devuelto/,
  /mancata consegna|impossibile recapitare|messaggio non (recapitato|consegnato)/,
  /não (foi )?entregue|falha na entrega/,
  /onbestelbaar|niet (worden )?(bezorgd|afgeleverd)/,
  /kunde inte levereras|kunne ikke leveres|ei voitu toimittaa/,
  /nie (można|mogła|została) dostarcz|niedostarczona|zwrot wiadomości/,
  /не ?доставлен|сообщение не дост|недоставленное/,
  /配信不能|送信できません|配信できません|配送できません|メールを送信でき|エラー ?メール|送信エラー/,
  /无法(投递|送达)|退信|系统退信|無法(投遞|傳遞)|배달되지|전송 실패|반송/,
];

/** Reports that are no failures: the mail waits, or arrived. */
const notFailed =
  /\b(delay(ed)?|deferred|warning: (message|could not send)|(transient|temporary) (failure|problem)|success(ful(ly)?)?|relayed|read:|delivered:)|notification: warning|still being retried|verzöger|verzögert|retras|retard[ée]/;

/** A warning that gave up has failed all the same: it says for how long it tried. */
const failedWarning = /could not send mail for past|^returned mail\b/;

/** How programs that answer for absent people begin their subjects. Matched at the beginning, in lower case, behind `Re:` and its kind. */
const absencePhrases: readonly RegExp[] = [
  /^(automatic|auto-?|auto )(reply|response|responder|antwort|respuesta)\b/,
  /^auto(matic)?[ -]?(reply|response|re)\b/,
  /^out of (the )?office( reply| autoreply|:|$| auto)/,
  /^(on )?vacation(:| reply| response| auto)/,
  /^away from (my )?(mail|desk|office)\b/,
  /^automatische (antwort|beantwortung)|^abwesenheit(snotiz|sbenachrichtigung|smeldung|sassistent|:|$)/,
  /^réponse automatique|^absen(t|ce) du bureau|^absence\s*:/,
  /^respuesta automática|^fuera de (la )?oficina/,
  /^risposta automatica|^fuori (sede|ufficio)\b/,
  /^resposta automática|^fora do escritório|^ausência temporária/,
  /^automatisch antwoord|^afwezig(heids)?(bericht|:|$)/,
  /^autosvar|^automatiskt svar|^automatisk svar|^frånvaro(meddelande|:|$)/,
  /^automaattinen vastaus|^poissa\s*:/,
  /^automatyczna odpowiedź|^autoodpowiedź/,
  /^автоматический ответ|^автоответ/,
  /^自動(応答|返信)|^自动(回复|答复)|^自動回覆|^자동 ?(회신|응답)/,
  /^otomatik yanıt|^automatická odpověď|^automatikus válasz|^răspuns automat|^αυτόματη απάντηση/,
];

const rulesByKind: readonly (readonly [TraitKind, readonly Rule[]])[] = [
  [
    "complaint",
    [
      ({ reportType }) => (reportType === "feedback-report" ? "Content-Type: multipart/report; report-type=feedback-report" : undefined),
      ({ partTypes }) => (partTypes.includes("message/feedback-report") ? "a part of type message/feedback-report" : undefined),
      // Outlook.com reports to postmasters from here, in a form of its own from before RFC 5965.
      ({ from, subject }) =>
        from[0]?.address.toLowerCase() === "staff@hotmail.com" && /^complaint about message/i.test(subject) ? "From: staff@hotmail.com" : undefined,
    ],
  ],
  [
    "bounce",
    [
      (facts) =>
        facts.reportType === "delivery-status" && isFailure(facts) ? "Content-Type: multipart/report; report-type=delivery-status" : undefined,
      (facts) => (facts.partTypes.includes("message/delivery-status") && isFailure(facts) ? "a part of type message/delivery-status" : undefined),
      (facts) => (facts.headers.has("x-failed-recipients") && isFailure(facts) ? "X-Failed-Recipients" : undefined),
      (facts) => (isFromAgent(facts) && isFailure(facts) && saysFailure(facts) ? `From: ${agentOf(facts)}, with a subject of failure` : undefined),
      (facts) =>
        isFromAgent(facts) && isFailure(facts) && isNullReturnPath(facts) ? `From: ${agentOf(facts)}, with an empty return path` : undefined,
      (facts) => (isNullReturnPath(facts) && isFailure(facts) && saysFailure(facts) ? "Return-Path: <>, with a subject of failure" : undefined),
      // Reports that passed through a forwarder lost their empty return path, and some never had a subject.
      (facts) => (/^mailer-?daemon\b/i.test(facts.from[0]?.address ?? "") && isFailure(facts) ? `From: ${agentOf(facts)}` : undefined),
    ],
  ],
  [
    "auto_reply",
    [
      (facts) => (isReport(facts) ? undefined : header(facts, "auto-submitted", "Auto-Submitted", /^auto-replied\b/)),
      (facts) => (isReport(facts) ? undefined : header(facts, "x-autoreply", "X-Autoreply", /^(?!no\b)/)),
      (facts) => (isReport(facts) ? undefined : header(facts, "x-autorespond", "X-Autorespond", /^(?!no\b)/)),
      (facts) => (isReport(facts) ? undefined : header(facts, "precedence", "Precedence", /^auto[_-]?reply\b/)),
      (facts) => (isReport(facts) ? undefined : saysAbsence(facts)),
    ],
  ],
  ["mailing_list", [(facts) => header(facts, "list-id", "List-Id", /\S/), (facts) => header(facts, "precedence", "Precedence", /^list\b/)]],
  [
    "bulk",
    [
      (facts) => header(facts, "precedence", "Precedence", /^(bulk|junk)\b/),
      (facts) => (facts.headers.has("list-unsubscribe") ? "List-Unsubscribe" : undefined),
    ],
  ],
];

/** A report about another message: it bounced, waits, was read. None of them is somebody's answer, whatever Auto-Submitted says. */
function isReport(facts: TraitFacts): boolean {
  if (facts.contentType === "multipart/report" || facts.headers.has("x-failed-recipients")) return true;
  return isFromAgent(facts) && (isNullReturnPath(facts) || saysFailure(facts) || !isFailure(facts));
}

function isFailure({ subject }: TraitFacts): boolean {
  const text = subject.toLowerCase();
  return !notFailed.test(text) || failedWarning.test(text.replace(/[^a-z]+/g, " "));
}

function saysFailure({ subject }: TraitFacts): boolean {
  const text = subject.toLowerCase();
  return failurePhrases.some((phrase) => phrase.test(text));
}

function saysAbsence({ subject }: TraitFacts): string | undefined {
  const text = subject
    .trim()
    .toLowerCase()
    .replace(/^((re|aw|sv|vs|rif|odp|ynt|ref?)\s*:\s*)+/, "");
  return absencePhrases.some((phrase) => phrase.test(text)) ? `Subject: ${subject.trim()}` : undefined;
}

function isFromAgent(facts: TraitFacts): boolean {
  return agentOf(facts) !== undefined;
}

function agentOf({ from }: TraitFacts): string | undefined {
  const [sender] = from;
  if (sender === undefined) return undefined;
  const localPart = sender.address.slice(0, Math.max(0, sender.address.lastIndexOf("@"))) || sender.address;
  for (const text of [localPart, sender.name]) {
    if (
      deliveryAgents.test(
        text
          .toLowerCase()
          .replace(/[^\p{L}\p{N}]+/gu, " ")
          .trim(),
      )
    )
      return text;
  }
  return undefined;
}

function isNullReturnPath({ headers }: TraitFacts): boolean {
  const [path] = headers.get("return-path") ?? [];
  return path !== undefined && /^(<\s*>|<mailer-daemon(@[^>]*)?>)/i.test(path.trim());
}

function header({ headers }: TraitFacts, name: string, shown: string, value: RegExp): string | undefined {
  const found = headers.get(name)?.find((one) => value.test(one.trim().toLowerCase()));
  return found === undefined ? undefined : `${shown}: ${found.trim()}`;
}
