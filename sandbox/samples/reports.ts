import type { Draft } from "./bulk.ts";
import { dateField, type Entity, multipart } from "./compose.ts";
import type { Random } from "./random.ts";

/** A mail that could not be delivered, as its sender gets it back (RFC 3464). */
export interface Bounce {
  readonly folder: string;
  readonly daysAgo: number;
  readonly hour: number;
  readonly subject: string;
  readonly content: (context: { readonly random: Random; readonly owner: string; readonly at: Date }) => Entity;
}

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
  content: ({ random, owner, at }) => {
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
      `Message-ID: <${random.hex(20)}@sandbox.everpost.test>`,
      "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8",
      "",
    ];
    const part = (type: string, lines: readonly string[]): Entity => ({ headers: [`Content-Type: ${type}`], body: lines.join("\r\n") });
    return multipart("report; report-type=delivery-status", `report-${random.hex(12)}`, [
      part("text/plain; charset=us-ascii", explanation.split("\n")),
      part("message/delivery-status", report),
      action === "failed" ? part("message/rfc822", [...original, "The original text stood here.", ""]) : part("text/rfc822-headers", original),
    ]);
  },
}));

const absences: readonly (readonly [name: string, email: string, subject: string, text: string, daysAgo: number])[] = [
  [
    "Priya Raman",
    "p.raman@harborlogistics.example",
    "Automatic reply: Apollo: gust alarm threshold",
    "I am away until Monday and read mail only in the evening. For anything on the quay please call the control room.",
    40,
  ],
  [
    "Amélie Desrosiers",
    "amelie@atelier-vent.example",
    "Réponse automatique : Installation pour la régate",
    "Bonjour, je suis en congé jusqu'au 3. Je vous répondrai à mon retour.",
    25,
  ],
  [
    "Petra Köhler",
    "koehler@kanzlei-koehler.example",
    "Abwesenheit: Unterlagen für das dritte Quartal",
    "Guten Tag, ich bin bis Mittwoch auf Fortbildung. In dringenden Fällen hilft Ihnen das Sekretariat.",
    37,
  ],
  [
    "佐藤 由美",
    "sato@sora-kansoku.example",
    "自動返信: 休暇のお知らせ",
    "ただいま休暇をいただいております。来週月曜日以降に順次ご返信いたします。",
    98,
  ],
  [
    "Tomás Reyes",
    "tomas.reyes@northlight.example",
    "Out of office: Re: Lead from the fair",
    "I am at customers all week and slow by mail. If it burns, call me.",
    65,
  ],
  [
    "Nora Whitcombe",
    "nora.whitcombe@riverside-school.example",
    "Autoreply: Classroom kit for year 8",
    "School is closed for half term. I will answer when the bell rings again.",
    30,
  ],
];

/** Answers of machines for people who are away (RFC 3834). */
export const absenceDrafts: readonly Draft[] = absences.map(([name, email, subject, text, daysAgo]) => ({
  folder: daysAgo > 60 ? "Archive" : "INBOX",
  daysAgo,
  hour: 11,
  mail: {
    from: { name, email },
    subject,
    text: `${text}\n\n${name}\n`,
    headers: [
      ["Auto-Submitted", "auto-replied"],
      ["X-Auto-Response-Suppress", "All"],
      ["Precedence", "auto_reply"],
    ],
  },
}));
