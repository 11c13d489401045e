export type Language = "en" | "de" | "fr" | "ja" | "ru";

export interface Person {
  readonly name: string;
  readonly email: string;
  readonly language: Language;
  readonly signature: string;
  /** Whose mail program writes HTML beside the text. */
  readonly writesHtml?: boolean;
}

const northlight = (name: string, email: string, title: string, writesHtml = false): Person => ({
  name,
  email: `${email}@northlight.example`,
  language: "en",
  signature: `${name}\n${title} · Northlight Instruments`,
  writesHtml,
});

/** Whom Alex writes with. Alex leads projects at Northlight Instruments, which builds small weather stations. */
export const people = {
  mina: northlight("Mina Okafor", "mina.okafor", "Head of Engineering", true),
  ravi: northlight("Ravi Menon", "ravi", "Firmware"),
  clara: northlight("Clara Fontaine", "clara", "Product Design", true),
  ingrid: northlight("Ingrid Solheim", "ingrid.solheim", "Finance"),
  tomas: northlight("Tomás Reyes", "tomas.reyes", "Sales", true),
  dele: northlight("Dele Adebayo", "dele", "Support"),
  priya: {
    name: "Priya Raman",
    email: "p.raman@harborlogistics.example",
    language: "en",
    signature: "Priya Raman\nOperations, Harbor Logistics\n+44 1632 960188",
    writesHtml: true,
  },
  ben: { name: "Ben Castellan", email: "ben@fieldworks.example", language: "en", signature: "Ben\nFieldworks Surveying" },
  nora: {
    name: "Nora Whitcombe",
    email: "nora.whitcombe@riverside-school.example",
    language: "en",
    signature: "Nora Whitcombe\nScience, Riverside School",
  },
  jurgen: {
    name: "Jürgen Weißmann",
    email: "j.weissmann@klimahaus.example",
    language: "de",
    signature: "Mit freundlichen Grüßen\nJürgen Weißmann\nKlimahaus Brennerstedt · Haustechnik",
  },
  petra: { name: "Petra Köhler", email: "koehler@kanzlei-koehler.example", language: "de", signature: "Viele Grüße\nPetra Köhler, Steuerberaterin" },
  amelie: {
    name: "Amélie Desrosiers",
    email: "amelie@atelier-vent.example",
    language: "fr",
    signature: "Amélie Desrosiers\nAtelier Vent, Nantes",
    writesHtml: true,
  },
  yumi: { name: "佐藤 由美", email: "sato@sora-kansoku.example", language: "ja", signature: "佐藤 由美\n空観測株式会社 技術部" },
  olga: { name: "Ольга Смирнова", email: "o.smirnova@meteolab.example", language: "ru", signature: "С уважением,\nОльга Смирнова\nМетеоЛаб" },
  jonas: { name: "Jonas", email: "jonas.lindqvist@letterbox.example", language: "en", signature: "J." },
  lena: { name: "Lena Brandt", email: "lena.brandt@letterbox.example", language: "en", signature: "Lena x" },
} as const satisfies Record<string, Person>;

export type PersonKey = keyof typeof people;
