import { dateField, type Entity, multipart } from "./compose.ts";
import { type Person, people } from "./people.ts";
import type { Random } from "./random.ts";

/** A mail that could not be delivered, as its sender gets it back (RFC 3464). */
export interface Bounce {
  readonly folder: string;
  readonly daysAgo: number;
  readonly hour: number;
  readonly subject: string;
  /** Of the mail that came back, which lies in Sent. */
  readonly original: { readonly recipient: string; readonly subject: string };
  readonly content: (context: { readonly random: Random; readonly owner: string; readonly at: Date; readonly originalId: string }) => Entity;
}

/** What each of the mails that came back said. */
export const bouncedText = "Hello,\r\n\r\nas discussed, please find the details below.\r\n\r\nAlex";

const bounces: readonly { recipient: string; action: "failed" | "delayed"; status: string; diagnostic: string; subject: string; daysAgo: number }[] =
  [
    {
      recipient: "k.holm@oldharbour.example",
      action: "failed",
      status: "5.1.1",
      diagnostic: "550 5.1.1 User unknown",
      subject: "Offer for two stations",
      daysAgo: 8,
    },
    {
      recipient: "info@vineyard-north.example",
      action: "failed",
      status: "5.2.2",
      diagnostic: "552 5.2.2 Mailbox is full",
      subject: "Frost alarm: delivery in February",
      daysAgo: 29,
    },
    {
      recipient: "j.weissmann@klimahaus.example",
      action: "delayed",
      status: "4.4.1",
      diagnostic: "451 4.4.1 No answer from host",
      subject: "Lieferschein 2231",
      daysAgo: 7,
    },
    {
      recipient: "team@sailclub-east.example",
      action: "failed",
      status: "5.7.1",
      diagnostic: "550 5.7.1 Message refused by policy",
      subject: "Weather station for the jetty",
      daysAgo: 73,
    },
    {
      recipient: "anna@gone.example",
      action: "failed",
      status: "5.1.2",
      diagnostic: "550 5.1.2 Host or domain name not found",
      subject: "Manual, new edition",
      daysAgo: 140,
    },
    {
      recipient: "purchasing@harborlogistics.example",
      action: "failed",
      status: "5.3.4",
      diagnostic: "552 5.3.4 Message too big for system",
      subject: "Photos of both masts",
      daysAgo: 61,
    },
  ];

export const bounceMails: readonly Bounce[] = bounces.map(({ recipient, action, status, diagnostic, subject, daysAgo }) => ({
  folder: daysAgo > 100 ? "Archive" : "INBOX",
  daysAgo,
  hour: 14,
  subject: action === "failed" ? "Undelivered Mail Returned to Sender" : "Delayed Mail (still being retried)",
  original: { recipient, subject },
  content: ({ random, owner, at, originalId }) => {
    const explanation =
      action === "failed"
        ? `I'm sorry to have to tell you that your message could not be delivered\nto one recipient. It is attached below.\n\n<${recipient}>: ${diagnostic}\n`
        : `This is a warning only: you need not send your message again.\nIt is still tried, for up to five days.\n\n<${recipient}>: ${diagnostic}\n`;
    const report = [
      "Reporting-MTA: dns; mx.sandbox.everpost.test",
      `Arrival-Date: ${dateField(at)}`,
      "",
      `Final-Recipient: rfc822; ${recipient}`,
      `Action: ${action}`,
      `Status: ${status}`,
      `Diagnostic-Code: smtp; ${diagnostic}`,
      "",
    ];
    const original = [
      `Date: ${dateField(new Date(at.getTime() - 60_000))}`,
      `From: Alex Lindqvist <${owner}>`,
      `To: ${recipient}`,
      `Subject: ${subject}`,
      `Message-ID: ${originalId}`,
      "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8",
      "",
    ];
    const part = (type: string, lines: readonly string[]): Entity => ({ headers: [`Content-Type: ${type}`], body: lines.join("\r\n") });
    return multipart("report; report-type=delivery-status", `report-${random.hex(12)}`, [
      part("text/plain; charset=us-ascii", explanation.split("\n")),
      part("message/delivery-status", report),
      action === "failed" ? part("message/rfc822", [...original, bouncedText, ""]) : part("text/rfc822-headers", original),
    ]);
  },
}));

/** What machines answer for people who are away (RFC 3834), a minute after the owner's first mail in that conversation. */
export const absences: readonly { readonly from: Person; readonly subject: string; readonly text: string; readonly answers: string }[] = [
  {
    from: people.priya,
    subject: "Automatic reply: Apollo: gust alarm threshold",
    text: "I am away until Monday and read mail only in the evening. For anything on the quay please call the control room.",
    answers: "Apollo: gust alarm threshold",
  },
  {
    from: people.amelie,
    subject: "Réponse automatique : Installation pour la régate de mai",
    text: "Bonjour, je suis en congé jusqu'au 3. Je vous répondrai à mon retour.",
    answers: "Installation pour la régate de mai",
  },
  {
    from: people.petra,
    subject: "Abwesenheit: Unterlagen für das dritte Quartal",
    text: "Guten Tag, ich bin bis Mittwoch auf Fortbildung. In dringenden Fällen hilft Ihnen das Sekretariat.",
    answers: "Unterlagen für das dritte Quartal",
  },
  {
    from: people.yumi,
    subject: "自動返信: 休暇のお知らせ",
    text: "ただいま休暇をいただいております。明日以降に順次ご返信いたします。",
    answers: "気圧センサーの校正について",
  },
  {
    from: people.tomas,
    subject: "Out of office: Lead from the fair: vineyard with frost problem",
    text: "I am at customers all week and slow by mail. If it burns, call me.",
    answers: "Lead from the fair: vineyard with frost problem",
  },
  {
    from: people.nora,
    subject: "Autoreply: Classroom kit for year 8",
    text: "School is closed for half term. I will answer when the bell rings again.",
    answers: "Classroom kit for year 8",
  },
];

export const absenceHeaders = [
  ["Auto-Submitted", "auto-replied"],
  ["X-Auto-Response-Suppress", "All"],
  ["Precedence", "auto_reply"],
] as const;
