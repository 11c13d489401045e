import { pdf, png } from "./attachments.ts";
import { dateField, type Mail } from "./compose.ts";
import type { Random } from "./random.ts";

/** What a sample says beside its mail: where it lies, how old it is and how its owner treated it. */
export interface Draft {
  readonly folder: string;
  readonly daysAgo: number;
  /** Hours after midnight, UTC. */
  readonly hour: number;
  readonly isUnread?: boolean;
  readonly isFlagged?: boolean;
  readonly mail: Omit<Mail, "at" | "to" | "messageId"> & { readonly to?: Mail["to"] };
}

interface Newsletter {
  readonly name: string;
  readonly email: string;
  readonly listId: string;
  readonly everyDays: number;
  readonly issues: number;
  readonly colour: readonly [number, number, number];
  readonly topics: readonly (readonly [headline: string, text: string])[];
}

const newsletters: readonly Newsletter[] = [
  {
    name: "The Barometer Weekly",
    email: "weekly@barometer.example",
    listId: "The Barometer Weekly <weekly.barometer.example>",
    everyDays: 14,
    issues: 25,
    colour: [60, 110, 190],
    topics: [
      ["Why fog loves motorways", "Cold air runs downhill and stops at the embankment. A short tour with a thermometer and a bicycle."],
      ["The gust that nobody measured", "Ten-minute means hide what breaks umbrellas. What three-second gusts tell us instead."],
      ["Rain gauges and the wind", "In a storm a gauge misses a fifth of the rain. Four shields, compared over one wet winter."],
      ["A thermometer in the shade of a tree", "Beautiful, and wrong by two degrees. Where to put it when you only have a garden."],
      ["Reading old weather diaries", "A village priest wrote down 41 years of mornings. Volunteers have typed the first ten."],
      ["Snow depth without a ruler", "A cheap distance sensor, a post and some patience."],
      ["What the swallows know", "Insects fly lower before rain, and the birds follow. Mostly."],
      ["Clouds by name", "A poster to print, in two sizes, with the ones that everybody mixes up."],
      ["Lightning, counted", "Half of all strikes never reach the ground. How the other half is found."],
    ],
  },
  {
    name: "Embedded Notes",
    email: "notes@embedded-notes.example",
    listId: "<notes.embedded-notes.example>",
    everyDays: 28,
    issues: 12,
    colour: [40, 140, 90],
    topics: [
      ["Sleep modes that really sleep", "We measured 14 boards. Three of them wake up to blink."],
      ["A watchdog is not a design", "Five resets that hid one bug, and how logging the stack pointer found it."],
      ["Reading a data sheet backwards", "Begin with the errata, then the absolute maximum ratings. The first page is advertising."],
      ["Flash wears out, slowly", "A small ring buffer that outlives the product."],
      ["Time without a network", "Crystals, temperature and the ten seconds a month in between."],
    ],
  },
  {
    name: "Stadtbücherei Musterhausen",
    email: "neues@stadtbuecherei-musterhausen.example",
    listId: "Neues aus der Stadtbücherei <neues.stadtbuecherei-musterhausen.example>",
    everyDays: 30,
    issues: 11,
    colour: [170, 80, 60],
    topics: [
      ["Lesenacht für Kinder und Große", "Am letzten Freitag im Monat bleiben die Lampen länger an. Kissen bitte mitbringen."],
      ["Neue Hörbücher eingetroffen", "Über 120 Titel, darunter Reiseberichte aus Grönland und drei sehr lange Krimis."],
      ["Die Bücherei der Dinge", "Bohrmaschine, Nähmaschine, Wetterstation: Ausleihen statt kaufen, ab sofort auch übers Wochenende."],
      ["Öffnungszeiten in den Ferien", "Wir öffnen von 10 bis 16 Uhr. Die Rückgabeklappe ist wie immer rund um die Uhr da."],
    ],
  },
  {
    name: "Crate & Cable",
    email: "hello@crateandcable.example",
    listId: "<offers.crateandcable.example>",
    everyDays: 31,
    issues: 11,
    colour: [200, 140, 30],
    topics: [
      ["Connectors that do not corrode ⚓", "Our marine line is back in stock, in four sizes."],
      ["Spring cleaning: 20 % off short reels", "Everything under ten metres has to go before the stocktaking."],
      ["New: labels you can read at night", "Reflective, printable and cheaper than guessing."],
      ["Free shipping this week", "For every order above 40 euros, until Sunday."],
    ],
  },
];

export function newsletterDrafts(random: Random): Draft[] {
  return newsletters.flatMap((letter) =>
    Array.from({ length: letter.issues }, (_, index): Draft => {
      const daysAgo = 1 + random.below(3) + index * letter.everyDays;
      const [first, second] = [letter.topics[index % letter.topics.length], letter.topics[(index + 2) % letter.topics.length]] as [
        [string, string],
        [string, string],
      ];
      const issue = letter.issues - index + 40;
      const domain = letter.email.slice(letter.email.indexOf("@") + 1);
      const unsubscribe = `https://${domain}/unsubscribe?issue=${issue}&r=${random.hex(12)}`;
      const section = ([headline, text]: readonly [string, string]) =>
        `<h2>${headline}</h2>\n<p>${text}</p>\n<p><a href="https://${domain}/read/${issue}">${domain}</a></p>`;
      return {
        folder: daysAgo > 120 ? "Archive" : "INBOX",
        daysAgo,
        hour: 5 + random.below(3),
        isUnread: daysAgo < 60 && random.next() < 0.5,
        mail: {
          from: { name: letter.name, email: letter.email },
          subject: `${first[0]} · No. ${issue}`,
          headers: [
            ["List-Id", letter.listId.replace("ü", "ue")],
            ["List-Unsubscribe", `<${unsubscribe}>, <mailto:unsubscribe@${domain}?subject=${issue}>`],
            ["List-Unsubscribe-Post", "List-Unsubscribe=One-Click"],
            ["Precedence", "bulk"],
          ],
          text: `${letter.name}, No. ${issue}\n\n${first[0]}\n${first[1]}\n\n${second[0]}\n${second[1]}\n\nRead on: https://${domain}/read/${issue}\nUnsubscribe: ${unsubscribe}\n`,
          html: `<!doctype html><html><body style="font-family:Georgia,serif;max-width:36em"><img src="cid:banner-${issue}@${domain}" alt="" width="96" height="64">\n<h1>${letter.name.replace("&", "&amp;")}</h1>\n${section(first)}\n${section(second)}\n<p style="color:#777"><a href="${unsubscribe}">Unsubscribe</a></p></body></html>`,
          attachments: [png("banner.png", letter.colour, `banner-${issue}@${domain}`)],
        },
      };
    }),
  );
}

const shops: readonly (readonly [name: string, email: string, item: string, euros: string])[] = [
  ["Crate & Cable", "orders@crateandcable.example", "Marine connector, 4-pin (10)", "58.00"],
  ["Rail & Away", "tickets@railandaway.example", "Return ticket, 2nd class, seat 41", "46.80"],
  ["Bean Counter Coffee", "shop@beancounter.example", "Espresso blend, 1 kg (3)", "62.70"],
  ["Paper Lantern Books", "orders@paperlantern.example", "A Field Guide to Wind", "24.00"],
  ["Hostwell", "billing@hostwell.example", "Server M, one month", "31.90"],
  ["Green Fork Catering", "kitchen@greenfork.example", "Lunch for 8, Thursday", "112.00"],
];

export function receiptDrafts(random: Random): Draft[] {
  return Array.from({ length: 30 }, (_, index): Draft => {
    const [name, email, item, euros] = shops[index % shops.length] as (typeof shops)[number];
    const order = `${2_000 + index * 37}-${random.hex(4).toUpperCase()}`;
    return {
      folder: index % 3 === 2 ? "Rechnungen & Büro" : index < 10 ? "INBOX" : "Archive",
      daysAgo: 2 + index * 12,
      hour: 8 + random.below(10),
      isUnread: index < 2,
      mail: {
        from: { name, email },
        subject: `Your receipt from ${name}: order ${order}`,
        headers: [["Auto-Submitted", "auto-generated"]],
        text: `Thank you for your order.\n\nOrder ${order}\n${item}\nTotal: EUR ${euros}, VAT included\n\nThe receipt is attached. Questions? Just answer this mail.\n\n${name}\n`,
        html: `<p>Thank you for your order.</p><table><tr><td>Order</td><td>${order}</td></tr><tr><td>${item}</td><td>EUR ${euros}</td></tr></table><p>The receipt is attached. Questions? Just answer this mail.</p><p>${name.replace("&", "&amp;")}</p>`,
        attachments: [pdf(`receipt-${order}.pdf`, [name, `Receipt for order ${order}`, item, `Total EUR ${euros}`])],
      },
    };
  });
}

const alerts: readonly (readonly [subject: string, text: string])[] = [
  ["[uptime] data.northlight.example is slow", "Response time is 2.8 s (limit 2 s) since three checks, seen from two places."],
  ["[uptime] data.northlight.example is back to normal", "Response time is 0.4 s. It was slow for 22 minutes."],
  ["[stations] Station 20-0391 has not reported for 6 hours", "Last reading: 3.9 V battery, 4 °C. The neighbours report, so the network is fine."],
  ["[stations] Station 20-0391 reports again", "The gap of 7 hours was filled from the station's memory."],
  ["[tracker] NL-412 was assigned to you", 'Mina Okafor assigned NL-412 "Name the mast in gust alarms" to you.'],
  ["[tracker] NL-398 was closed", 'Ravi Menon closed NL-398 "Wind reads zero in strong gusts". Fixed in 2.8.1.'],
  ["[build] firmware 2.8.1 passed", "412 tests in 6 min 10 s. Artifacts are kept for 90 days."],
  ["[build] firmware nightly failed", "1 of 412 tests failed: radio/backoff gives up after three failures. First seen in this build."],
];

export function alertDrafts(random: Random): Draft[] {
  return Array.from({ length: 36 }, (_, index): Draft => {
    const [subject, text] = alerts[index % alerts.length] as (typeof alerts)[number];
    const tool = /^\[(\w+)\]/.exec(subject)?.[1] ?? "tools";
    return {
      folder: index < 16 ? "INBOX" : "Archive",
      daysAgo: 1 + Math.floor(index * 4.5),
      hour: random.below(24),
      isUnread: index < 6 && index % 2 === 0,
      mail: {
        from: { name: `Northlight ${tool}`, email: `${tool}@tools.northlight.example` },
        subject,
        headers: [
          ["Auto-Submitted", "auto-generated"],
          ["List-Id", `<${tool}.tools.northlight.example>`],
        ],
        text: `${text}\n\nhttps://tools.northlight.example/${tool}/${random.hex(8)}\n`,
      },
    };
  });
}

const meetings: readonly (readonly [title: string, organiser: readonly [string, string], hour: number])[] = [
  ["Apollo check-in", ["Priya Raman", "p.raman@harborlogistics.example"], 9],
  ["Roadmap review", ["Mina Okafor", "mina.okafor@northlight.example"], 13],
  ["Firmware demo on the roof", ["Ravi Menon", "ravi@northlight.example"], 15],
  ["Jahresgespräch Versicherung", ["Petra Köhler", "koehler@kanzlei-koehler.example"], 10],
];

export function invitationDrafts(random: Random, now: Date): Draft[] {
  return Array.from({ length: 14 }, (_, index): Draft => {
    const [title, [name, email], hour] = meetings[index % meetings.length] as (typeof meetings)[number];
    const daysAgo = 4 + index * 24;
    const day = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - daysAgo + 5, hour));
    const stamp = (at: Date) => at.toISOString().replace(/[-:]|\.\d{3}/g, "");
    const end = new Date(day.getTime() + 3_600_000);
    const lines = [
      "BEGIN:VCALENDAR",
      "VERSION:2.0",
      "PRODID:-//Everpost//Sandbox//EN",
      "METHOD:REQUEST",
      "BEGIN:VEVENT",
      `UID:${random.hex(16)}@calendar.northlight.example`,
      `DTSTAMP:${stamp(new Date(day.getTime() - 5 * 86_400_000))}`,
      `DTSTART:${stamp(day)}`,
      `DTEND:${stamp(end)}`,
      `SUMMARY:${title}`,
      `ORGANIZER;CN=${name}:mailto:${email}`,
      "LOCATION:Meeting room Zephyr",
      "END:VEVENT",
      "END:VCALENDAR",
      "",
    ];
    return {
      folder: index < 3 ? "INBOX" : "Archive",
      daysAgo,
      hour: 8 + random.below(8),
      mail: {
        from: { name, email },
        subject: `Invitation: ${title}, ${dateField(day).slice(0, 11)}`,
        text: `${name} invites you.\n\n${title}\n${dateField(day).slice(0, 22)} UTC, one hour\nMeeting room Zephyr\n`,
        calendar: lines.join("\r\n"),
      },
    };
  });
}

const junk: readonly (readonly [name: string, email: string, subject: string, text: string])[] = [
  [
    "Parcel Desk",
    "desk@parcel-desk.example",
    "Your parcel is waiting 📦 pay 1.99 now",
    "Dear customer, your parcel could not be delivered because of an unpaid fee. Pay within 24 hours or it goes back.",
  ],
  [
    "Crypto Circle",
    "vip@circle-gains.example",
    "Alex, 400 % in nine days???",
    "Our members do not want you to read this. Seats are limited. Only today.",
  ],
  [
    "Dr. Rupert Ashdown",
    "barrister@estate-claims.example",
    "Confidential: estate of late Mr Lindqvist",
    "I represent a late client who shares your name and left 8.4 million without an heir. Kindly answer with your telephone number.",
  ],
  [
    "SEO Rocket",
    "growth@seo-rocket.example",
    "I found 17 errors on your website",
    "Hi there, I was just looking at your website and noticed it is not on page one. Shall I send you the screenshots?",
  ],
  [
    "Mail Storage",
    "quota@mail-storage.example",
    "Mailbox 98 % full!! Verify to keep your messages",
    "Your mailbox will be closed. Click the link and enter your password to keep it open.",
  ],
  [
    "Gewinnzentrale",
    "glueck@gewinnzentrale.example",
    "Sie haben gewonnen: 1 Kaffeevollautomat",
    "Herzlichen Glückwunsch! Bestätigen Sie nur noch Ihre Bankverbindung, damit wir den Versand veranlassen können.",
  ],
  ["Watch Outlet", "sale@watch-outlet.example", "LUXURY watches −90 %", "Nobody will know the difference. Free shipping worldwide."],
];

export function junkDrafts(random: Random): Draft[] {
  return Array.from({ length: 21 }, (_, index): Draft => {
    const [name, email, subject, text] = junk[index % junk.length] as (typeof junk)[number];
    return {
      folder: "Junk",
      daysAgo: 1 + index * 2,
      hour: random.below(24),
      isUnread: random.next() < 0.8,
      mail: {
        from: { name, email },
        subject: index < junk.length ? subject : `${subject} [${random.hex(4)}]`,
        text: `${text}\n`,
        html: `<p><b>${text}</b></p>`,
      },
    };
  });
}

const binned: readonly (readonly [name: string, email: string, subject: string, text: string])[] = [
  ["Rail & Away", "survey@railandaway.example", "How was your trip?", "It takes two minutes and helps us to be less late."],
  ["Webinar Central", "events@webinarcentral.example", "Last chance: synergy in the cloud", "Join 40 minutes of slides tomorrow at 11."],
  ["Ingrid Solheim", "ingrid.solheim@northlight.example", "Fire drill at 11", "Please use the stairs. Meeting point is the bicycle shed."],
  ["Dele Adebayo", "dele@northlight.example", "Cake in the kitchen", "Lemon. There will not be any left at 3."],
  ["Hostwell", "noreply@hostwell.example", "Planned maintenance on Sunday", "Servers in hall 2 restart between 2:00 and 2:15."],
];

export function trashDrafts(random: Random): Draft[] {
  return Array.from({ length: 15 }, (_, index): Draft => {
    const [name, email, subject, text] = binned[index % binned.length] as (typeof binned)[number];
    return {
      folder: "Trash",
      daysAgo: 2 + index * 3,
      hour: 8 + random.below(9),
      mail: { from: { name, email }, subject, text: `${text}\n\n${name}\n` },
    };
  });
}
