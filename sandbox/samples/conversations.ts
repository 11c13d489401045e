import { type Attachment, csv, pdf, png } from "./attachments.ts";
import type { PersonKey } from "./people.ts";

/** One mail of a conversation: who wrote it ("me" is the mailbox's owner), how many hours after the one before, and what it says. */
export interface Turn {
  readonly from: PersonKey | "me";
  readonly hours: number;
  readonly text: string;
  readonly attachments?: readonly Attachment[];
  readonly isFlagged?: boolean;
}

export interface Conversation {
  readonly subject: string;
  /** Where its incoming mail lies. */
  readonly folder: "INBOX" | "Archive" | "Projects/Apollo" | "Rechnungen & Büro";
  /** When it began: 1 is yesterday. */
  readonly daysAgo: number;
  readonly cc?: readonly PersonKey[];
  readonly to?: PersonKey;
  readonly turns: readonly Turn[];
}

const readings = csv("apollo-mast-2-readings.csv", [
  ["time", "wind_ms", "gust_ms", "temperature_c", "humidity_pct"],
  ["06:00", 4.1, 6.8, 7.2, 81],
  ["07:00", 4.6, 7.9, 7.5, 79],
  ["08:00", 0, 0, 7.9, 78],
  ["09:00", 0, 0, 8.4, 74],
  ["10:00", 5.8, 9.9, 9.1, 70],
]);

const t = (from: Turn["from"], hours: number, text: string, more: Omit<Turn, "from" | "hours" | "text"> = {}): Turn => ({
  from,
  hours,
  text,
  ...more,
});

export const conversations: readonly Conversation[] = [
  {
    subject: "Apollo: wind sensor drops to zero on mast 2",
    folder: "Projects/Apollo",
    daysAgo: 3,
    cc: ["mina"],
    turns: [
      t(
        "priya",
        0,
        "Hi Alex,\n\nmast 2 showed no wind at all between 8 and 10 this morning, while the cranes had to stop because of the gusts. Export attached. Is this the sensor or the link?",
        { attachments: [readings], isFlagged: true },
      ),
      t(
        "me",
        1.5,
        "Hi Priya,\n\nthank you for the export, that helps. Temperature and humidity went on, so the link is fine. I have asked Ravi to look at the raw counts from that window and will come back to you today.\n\nUntil then please rely on mast 1.",
      ),
      t(
        "ravi",
        3,
        "Found it. The pulse counter saturates when two gusts fall into the same 250 ms window, and then the filter throws the whole hour away. It is our bug, not the hardware. A fix is in review; I would like to run it on the roof overnight before we ship.",
      ),
      t(
        "me",
        0.6,
        "Great, thanks Ravi. Roof tonight, Priya's masts tomorrow if the morning looks clean. Can you write two sentences I can forward to her?",
      ),
      t(
        "ravi",
        0.4,
        '"A burst of strong gusts could make the station discard its wind readings for up to two hours. Firmware 2.8.1 counts every gust; no readings other than wind were affected."',
      ),
      t("priya", 16, "That is clear, thank you. Go ahead with the update any time before 6 in the morning, the terminal is quiet then."),
    ],
  },
  {
    subject: "Apollo: site visit on the quay",
    folder: "Projects/Apollo",
    daysAgo: 64,
    cc: ["tomas"],
    turns: [
      t(
        "priya",
        0,
        "Hello Alex,\n\nwe can show you both mast positions next Thursday. You will each need safety shoes and a photo ID for the gate. Parking is behind the customs building.",
      ),
      t(
        "me",
        5,
        "Hello Priya,\n\nThursday works for Tomás and me. We arrive at 9:30 and would need about two hours: one for the positions, one for power and cabling.",
      ),
      t("priya", 20, "Perfect. I have booked our electrician for 10:30 and attached the gate plan.", {
        attachments: [
          pdf("gate-plan.pdf", ["Harbor Logistics: visitors' entrance", "Gate C, report to the customs building", "Speed limit 15 km/h on the quay"]),
        ],
      }),
      t(
        "me",
        190,
        "Thank you both for today. My notes:\n\n- mast 1 goes on the north shed, power from the lighting circuit\n- mast 2 on the crane rail, we bring our own battery box\n- mobile coverage is good at both\n\nOffer for the battery box follows on Monday.",
      ),
    ],
  },
  {
    subject: "Apollo kick-off notes",
    folder: "Projects/Apollo",
    daysAgo: 121,
    cc: ["ravi", "clara"],
    turns: [
      t(
        "mina",
        0,
        "Everyone,\n\nnotes from today:\n\n1. Two stations, live before the autumn storms.\n2. Harbor Logistics wants gust alarms by mail and on the crane display.\n3. Ravi owns firmware, Clara the display, Alex the customer.\n\nNext check-in in two weeks.",
      ),
      t("clara", 3, "First sketch of the crane display attached. Big number, nothing else until it turns red.", {
        attachments: [png("crane-display.png", [180, 40, 50])],
      }),
      t("me", 2, "I like it a lot. Could the number also say which mast it comes from? The crane driver will ask."),
      t("clara", 21, "It can: a small N or S in the corner. New sketch on the wall next to the coffee machine."),
    ],
  },
  {
    subject: "Apollo: battery box, offer 2207",
    folder: "Projects/Apollo",
    daysAgo: 52,
    turns: [
      t("me", 0, "Hi Priya,\n\nhere is the offer for the battery box on mast 2, as promised. Delivery within three weeks of your order.", {
        attachments: [
          pdf("offer-2207.pdf", [
            "Northlight Instruments",
            "Offer 2207",
            "1 battery box 40 Ah, IP67: EUR 485.00",
            "Mounting kit: EUR 62.00",
            "Valid for 30 days",
          ]),
        ],
      }),
      t("priya", 47, "Approved, order number HL-88121. Please send the invoice to our accounts team as usual."),
      t("me", 1, "Thank you! Ingrid will send it with the delivery."),
    ],
  },
  {
    subject: "Apollo: gust alarm threshold",
    folder: "Projects/Apollo",
    daysAgo: 17,
    turns: [
      t("priya", 0, "Could we have the alarm at 18 m/s instead of 20? Our insurer changed the rules for the older crane."),
      t("me", 2, "Of course. 18 m/s on mast 1 only, or on both?"),
      t(
        "priya",
        0.7,
        "Both please. And could the second line of the message name the mast? The night shift forwards it to people who do not know the numbers.",
      ),
      t("me", 3, "Done on both masts, from 14:00 today. The message now reads:\n\nGust alarm: 19.4 m/s\nNorth shed (mast 1), 14:02"),
      t("priya", 1, "Wonderful. Thank you for being so quick."),
    ],
  },
  {
    subject: "Roadmap draft for the spring release",
    folder: "INBOX",
    daysAgo: 5,
    cc: ["clara", "ravi"],
    turns: [
      t(
        "mina",
        0,
        "Hi all,\n\nI put the draft together. The three big things are solar charging, the calibration wizard and the public data page. Please tell me what you would drop if we only had time for two.",
      ),
      t("clara", 4, "I would drop the public data page. Schools love it, but nobody waits for it."),
      t(
        "me",
        2,
        "I would keep the data page and move the wizard. Half of our support mail is about sharing readings (Dele has the numbers), and calibration is a once-a-year job.",
      ),
      t("ravi", 18, "Solar first in any case, please. The charger chip has a 20 week lead time and I want to order this month."),
      t("mina", 3, "Good points. Solar and data page it is, the wizard goes to summer. Alex, can you tell the three pilot schools?", {
        isFlagged: true,
      }),
    ],
  },
  {
    subject: "Can you look at this ticket?",
    folder: "INBOX",
    daysAgo: 2,
    turns: [
      t(
        "dele",
        0,
        "Morning Alex,\n\nRiverside School cannot see readings older than 30 days. I think they are on the old plan, but they say Tomás promised them a year. Do you know more?",
      ),
      t(
        "me",
        0.8,
        "Hi Dele,\n\nTomás did promise it, in the mail from last autumn. I will switch them over now; nothing was deleted, so the old readings will be back in a minute.",
      ),
      t("dele", 0.5, "They are happy. Thank you!"),
    ],
  },
  {
    subject: "Angebot für drei Außenstationen",
    folder: "INBOX",
    daysAgo: 9,
    turns: [
      t(
        "jurgen",
        0,
        "Sehr geehrter Herr Lindqvist,\n\nfür die Erweiterung unseres Außengeländes benötigen wir drei weitere Stationen, möglichst noch vor dem Frost. Könnten Sie uns bitte ein Angebot schicken? Die Montage übernehmen wir wieder selbst.",
      ),
      t(
        "me",
        6,
        "Sehr geehrter Herr Weißmann,\n\nvielen Dank für Ihre Anfrage. Das Angebot finden Sie im Anhang. Die Stationen sind auf Lager und wären in der nächsten Woche bei Ihnen.",
        {
          attachments: [
            pdf("Angebot-2231.pdf", [
              "Northlight Instruments",
              "Angebot 2231",
              "3 Stationen NL-20 mit Windgeber: EUR 2.640,00",
              "Lieferung frei Haus",
            ]),
          ],
        },
      ),
      t(
        "jurgen",
        25,
        "Guten Tag Herr Lindqvist,\n\ndas passt uns sehr gut, wir bestellen hiermit. Eine Frage noch: Dürfen die Stationen über Nacht bei -5 °C ohne Heizung montiert bleiben?",
      ),
      t(
        "me",
        3,
        "Guten Tag Herr Weißmann,\n\nja, die NL-20 ist bis -25 °C freigegeben, auch ohne Heizung. Nur der Windgeber kann bei Eisregen für eine Weile stehen bleiben; das sehen Sie dann an der Anzeige.",
      ),
      t("jurgen", 44, "Bestens, dann freuen wir uns auf die Lieferung."),
    ],
  },
  {
    subject: "Übergabe Heizungsraum: Fühler 7 zeigt −40 °C",
    folder: "Archive",
    daysAgo: 148,
    turns: [
      t(
        "jurgen",
        0,
        "Guten Morgen,\n\nFühler 7 im Heizungsraum zeigt seit gestern durchgehend −40 °C. Im Raum sind es gefühlt 30. Was können wir tun?",
      ),
      t(
        "me",
        1,
        "Guten Morgen Herr Weißmann,\n\n−40 °C heißt fast immer: Kabelbruch oder Stecker lose. Bitte einmal den Stecker am Fühler abziehen, trocken wischen und wieder aufstecken.",
      ),
      t("jurgen", 2.5, "Es war der Stecker, jemand hatte ihn beim Lüften herausgezogen. 24,5 °C. Danke für die schnelle Hilfe!"),
    ],
  },
  {
    subject: "Unterlagen für das dritte Quartal",
    folder: "Rechnungen & Büro",
    daysAgo: 38,
    cc: ["ingrid"],
    turns: [
      t(
        "petra",
        0,
        "Liebe Ingrid, lieber Alex,\n\nfür das dritte Quartal fehlen mir noch der Mietvertrag des neuen Lagers und die Belege der Messe. Könnt ihr mir beides bis Freitag schicken?",
      ),
      t("me", 8, "Liebe Petra,\n\nder Mietvertrag ist im Anhang, die Messebelege schickt Ingrid morgen gesammelt.", {
        attachments: [pdf("Mietvertrag-Lager-Süd.pdf", ["Mietvertrag Lager Süd", "Beginn 1. Juli", "Monatlich EUR 640,00"])],
      }),
      t("petra", 19, "Vielen Dank, damit ist der Mietvertrag erledigt."),
      t(
        "ingrid",
        26,
        "Here come the receipts of the fair: travel, stand and catering, 14 in total. Two taxi receipts are photos, I hope that is fine.",
        {
          attachments: [
            csv("messe-belege.csv", [
              ["Nr", "Datum", "Zweck", "EUR"],
              [1, "12.09.", "Standmiete", "1890.00"],
              [2, "13.09.", "Bahn", "118.40"],
              [3, "14.09.", "Verpflegung", "64.20"],
            ]),
          ],
        },
      ),
    ],
  },
  {
    subject: "Rechnung 4471: Rückfrage zur Umsatzsteuer",
    folder: "Rechnungen & Büro",
    daysAgo: 95,
    turns: [
      t(
        "petra",
        0,
        "Lieber Alex,\n\nbei Rechnung 4471 an Atelier Vent steht deutsche Umsatzsteuer. Die Lieferung ging nach Nantes, müsste das nicht Reverse Charge sein?",
      ),
      t("me", 4, "Liebe Petra,\n\ndu hast recht, da war noch die alte Anschrift hinterlegt. Ingrid storniert und schreibt neu."),
      t("petra", 1.2, "Wunderbar, schick mir dann bitte beide Belege."),
    ],
  },
  {
    subject: "Wartungsvertrag Kopierer verlängern?",
    folder: "Rechnungen & Büro",
    daysAgo: 203,
    turns: [
      t("ingrid", 0, "Alex, the contract for the copier renews in three weeks, 39 euros a month. We printed 61 pages last month. Shall I cancel it?"),
      t("me", 0.5, "Please do. We can share the one downstairs."),
      t("ingrid", 0.2, "Done, with written confirmation."),
    ],
  },
  {
    subject: "Installation pour la régate de mai",
    folder: "INBOX",
    daysAgo: 26,
    turns: [
      t(
        "amelie",
        0,
        "Bonjour Alex,\n\nnous préparons la régate de l'année prochaine et j'aimerais installer deux stations sur la jetée, là où le vent tourne. Est-ce que le modèle NL-20 supporte les embruns ?",
      ),
      t(
        "me",
        5,
        "Bonjour Amélie,\n\noui, avec le kit marin : connecteurs étanches et vis en inox. Je peux vous en prêter une pour un essai cet hiver, si vous voulez.",
      ),
      t("amelie", 22, "Ce serait formidable ! Voici une photo de la jetée. Le mât existe déjà, 6 mètres, tube de 48 mm.", {
        attachments: [png("jetée.png", [40, 110, 170])],
      }),
      t("me", 3, "Parfait, 48 mm c'est exactement notre collier standard. Le colis part demain, avec une notice en français."),
      t("amelie", 70, "Bien reçu, tout fonctionne. À marée haute on voit même les vagues dans la pression, c'est magnifique."),
    ],
  },
  {
    subject: "Facture n° 4471 — avoir reçu ?",
    folder: "Archive",
    daysAgo: 93,
    turns: [
      t("amelie", 0, "Bonjour,\n\nj'ai reçu deux factures avec des montants différents. Laquelle dois-je régler ?"),
      t(
        "me",
        1.3,
        "Bonjour Amélie,\n\ntoutes mes excuses : la première est annulée, seule la facture 4478 est à régler. L'avoir est en pièce jointe.",
        { attachments: [pdf("avoir-4471.pdf", ["Northlight Instruments", "Avoir pour la facture 4471", "Montant: EUR 1 104,00"])] },
      ),
      t("amelie", 18, "Merci, c'est noté. Virement fait ce matin."),
    ],
  },
  {
    subject: "気圧センサーの校正について",
    folder: "INBOX",
    daysAgo: 13,
    turns: [
      t(
        "yumi",
        0,
        "アレックス様\n\nいつもお世話になっております。先月納品いただいた観測装置の気圧センサーについて、校正証明書を発行していただくことは可能でしょうか。来月の監査で必要になります。",
      ),
      t(
        "me",
        7,
        "Dear Sato-san,\n\nyes, gladly. All five sensors were calibrated on 3 September; the certificate is attached. Please tell me if your auditor needs it in Japanese.",
        {
          attachments: [
            pdf("calibration-certificate.pdf", [
              "Calibration certificate",
              "5 pressure sensors NL-P3",
              "Deviation below 0.1 hPa at 950, 1000 and 1050 hPa",
            ]),
          ],
        },
      ),
      t("yumi", 14, "早速のご対応ありがとうございます。英語の証明書で問題ございません。\n\nまた、東京にお越しの際はぜひお立ち寄りください。🌸"),
    ],
  },
  {
    subject: "Re: 見積書のお願い（予備部品）",
    folder: "Archive",
    daysAgo: 171,
    turns: [
      t("yumi", 0, "アレックス様\n\n予備のケーブル10本と太陽電池パネル2枚の見積書をお願いいたします。納期も教えていただけますと幸いです。"),
      t("me", 9, "Dear Sato-san,\n\n10 cables and 2 solar panels are EUR 412 including shipping, and would leave our warehouse on Friday."),
      t("yumi", 30, "ありがとうございます。それでは正式に発注いたします。よろしくお願いいたします。"),
    ],
  },
  {
    subject: "Данные станции за октябрь",
    folder: "INBOX",
    daysAgo: 19,
    turns: [
      t(
        "olga",
        0,
        "Добрый день, Алекс!\n\nПри выгрузке данных за октябрь у нас не хватает трёх дней, с 11 по 13 число. Станция в это время работала. Можно ли восстановить записи?",
      ),
      t(
        "me",
        4,
        "Dear Olga,\n\nthe station kept these days in its own memory while the mobile network was down. I have asked it to send them again; they should show up within the hour.",
      ),
      t("olga", 2, "Спасибо большое, всё на месте!", {}),
    ],
  },
  {
    subject: "Совместная статья о городском ветре",
    folder: "Archive",
    daysAgo: 236,
    turns: [
      t(
        "olga",
        0,
        "Здравствуйте, Алекс!\n\nМы собрали год измерений на крышах и хотим написать статью. Не могли бы вы описать устройство датчика, примерно одну страницу?",
      ),
      t("me", 28, "Dear Olga,\n\nwith pleasure. One page about the ultrasonic sensor and its errors in rain, by the end of the month?"),
      t("olga", 17, "Отлично, договорились. Черновик пришлю в понедельник."),
    ],
  },
  {
    subject: "Classroom kit for year 8",
    folder: "INBOX",
    daysAgo: 34,
    turns: [
      t(
        "nora",
        0,
        "Dear Alex,\n\nour year 8 would like to build a rain gauge and compare it with your station. Do you know of a simple kit that survives 13-year-olds?",
      ),
      t(
        "me",
        6,
        "Dear Nora,\n\nwe have one that survived our own office. I can lend you two boxes for six weeks, free of charge, if the class shares its readings on your data page.",
      ),
      t("nora", 21, "That is very kind. They have already named the gauges Drip and Drop."),
      t("me", 2, "Then they had better be waterproof. The boxes leave on Monday."),
      t("nora", 290, "They arrived, and it has not rained since. The children suspect you. 🌧️🙏"),
    ],
  },
  {
    subject: "Survey drone and your station on the same mast",
    folder: "Archive",
    daysAgo: 58,
    turns: [
      t("ben", 0, "Alex, quick one: does your radio mind a drone base station 40 cm above it? Same band, I think."),
      t("me", 2, "It will not break, but you will lose packets. Can you move it to a metre? Then it is fine, we tested that in spring."),
      t("ben", 0.5, "A metre works. Cheers."),
    ],
  },
  {
    subject: "Lunch on Thursday?",
    folder: "INBOX",
    daysAgo: 4,
    turns: [
      t("ben", 0, "I am in town on Thursday. The noodle place again, half past twelve?"),
      t("me", 0.7, "Yes! I have a call until 12:15, so order the dumplings if I am late."),
      t("ben", 0.1, "Ordering them either way."),
    ],
  },
  {
    subject: "New photos for the website",
    folder: "Archive",
    daysAgo: 82,
    cc: ["tomas"],
    turns: [
      t("clara", 0, "The photographer sent the first batch. My favourites attached: the roof at dawn and the station in the snow.", {
        attachments: [png("roof-at-dawn.png", [230, 120, 60]), png("snow.png", [150, 180, 210])],
      }),
      t("tomas", 2, "The snow one, please! Half of my customers ask whether it works in winter."),
      t("me", 1, "Snow for the front page, dawn for the about page. Could we also get one with a person in it?"),
      t("clara", 24, "Booked for the next sunny day. You are the person."),
    ],
  },
  {
    subject: "Budget for the test chamber",
    folder: "Archive",
    daysAgo: 110,
    cc: ["ingrid"],
    turns: [
      t(
        "mina",
        0,
        "The climate chamber we rent costs 310 euros a day and we used it 19 days this year. A small one of our own is 7,900. I think it pays off by next summer. What do you say?",
      ),
      t("ingrid", 3, "We can afford it, but please in January: this year's investments are used up."),
      t("me", 1, "January is fine for my projects. Mina, shall I ask the rental company to let us keep theirs at a discount until then?"),
      t("mina", 0.6, "Good idea, please try."),
      t("me", 27, "They said yes: 190 a day until the end of January."),
    ],
  },
  {
    subject: "Firmware 2.8.1 on the roof",
    folder: "INBOX",
    daysAgo: 2,
    cc: ["mina"],
    turns: [
      t(
        "ravi",
        0,
        "The roof ran 2.8.1 all night in 17 m/s gusts: no reading lost, CPU at 31 %. I tagged the release. Changes:\n\n- wind: count pulses in hardware, so that none is lost in gusts\n- radio: back off after three failed uploads\n- display: show the mast's letter",
      ),
      t("mina", 1, "Nice work. Alex, your go for the harbour?"),
      t("me", 0.3, "Go. Priya wants it before six, so let us do 5:15 tomorrow."),
    ],
  },
  {
    subject: "Trade fair: who is on the stand when?",
    folder: "Archive",
    daysAgo: 75,
    cc: ["clara", "dele"],
    turns: [
      t(
        "tomas",
        0,
        "Plan for the three days:\n\nTue: Tomás + Clara\nWed: Tomás + Alex\nThu: Alex + Dele\n\nPlease shout if that does not work. Hotel is booked for everyone.",
      ),
      t("dele", 2, "Thursday is fine. I bring the rain machine if someone helps to carry it."),
      t("me", 1, "I carry. Wednesday and Thursday work for me."),
      t("clara", 5, "Tuesday fine. Poster file is at the printer's."),
    ],
  },
  {
    subject: "Lead from the fair: vineyard with frost problem",
    folder: "INBOX",
    daysAgo: 67,
    turns: [
      t(
        "tomas",
        0,
        "Remember the couple with the vineyard? They want 8 stations along the slope and an alarm at 2 °C. Do we have a frost alarm that also rings a phone?",
      ),
      t(
        "me",
        3,
        "By mail and text message, yes. Ringing we could do through their own phone system. I would promise mail and text now, and the call as an option.",
      ),
      t("tomas", 1, "Exactly what I told them, phew. Offer goes out today."),
      t("tomas", 260, "They signed! Eight stations, delivery in February. 🎉🍷"),
      t("me", 0.5, "Fantastic, congratulations! I am putting February into the plan."),
    ],
  },
  {
    subject: "Your hours in June",
    folder: "Archive",
    daysAgo: 160,
    turns: [
      t("ingrid", 0, "Alex, your time sheet for June is missing the last week. Could you fill it in by tomorrow? I close the month on Thursday."),
      t("me", 3, "Sorry! Done. The whole week was Apollo."),
      t("ingrid", 0.3, "Thank you."),
    ],
  },
  {
    subject: "Interview on Monday: junior hardware engineer",
    folder: "Archive",
    daysAgo: 132,
    cc: ["ravi"],
    turns: [
      t(
        "mina",
        0,
        "On Monday at 10 we meet a candidate for the hardware role. Could you two take the second half hour? I would like to know how she thinks about a sensor that lies.",
      ),
      t("me", 4, "Gladly. I bring the anemometer with the loose magnet and say nothing."),
      t("ravi", 0.4, "Cruel. I am in."),
      t("mina", 74, "She found the magnet in four minutes. Offer sent."),
    ],
  },
  {
    subject: "Parcel for you at reception",
    folder: "Archive",
    daysAgo: 44,
    turns: [
      t("dele", 0, "There is a parcel for you downstairs, rather heavy, from the bearing supplier. I signed for it."),
      t("me", 1, "Thank you, I will get it after lunch."),
    ],
  },
  {
    subject: "Saturday hike",
    folder: "INBOX",
    daysAgo: 10,
    turns: [
      t("jonas", 0, "Brother! The forecast for Saturday is dry, and you of all people should know. Ridge path, start at 8, soup at the hut?"),
      t("me", 2, "In. I trust the forecast 80 %, so I bring the jacket. Can you pick me up at 7:15?"),
      t("jonas", 1, "7:15. Bring the good thermos."),
      t("jonas", 58, "For the record: it rained from 11 to 3.", { attachments: [png("soaked.png", [90, 100, 110])] }),
    ],
  },
  {
    subject: "Mum's birthday",
    folder: "Archive",
    daysAgo: 185,
    turns: [
      t(
        "jonas",
        0,
        "It is her 70th in three weeks. I had the idea of a weekend at the lake, all of us, and the old slides on a bedsheet. What do you think?",
      ),
      t("me", 7, "Lovely. I take care of the house, you of the projector and of not telling her."),
      t("jonas", 0.2, "The second one is the hard part."),
      t("me", 26, "House booked, Friday to Sunday, sleeps nine. She will love it."),
    ],
  },
  {
    subject: "Choir: extra rehearsal",
    folder: "INBOX",
    daysAgo: 15,
    turns: [
      t("lena", 0, "Dear basses,\n\nextra rehearsal next Tuesday at 19:00 in the small hall, only the Kyrie and the fast bit. Can you come?"),
      t("me", 5, "I can, but only from 19:20."),
      t("lena", 0.6, "Good enough, we start slowly anyway."),
    ],
  },
  {
    subject: "Borrowing the cargo bike",
    folder: "Archive",
    daysAgo: 219,
    turns: [
      t("lena", 0, "Could I have your cargo bike on Sunday? I am moving 14 plants and one very large mirror."),
      t("me", 1, "Sure. The brake squeaks, that is normal. The mirror on a cargo bike is not, so go slowly."),
      t("lena", 72, "All 14 plants and the mirror survived. Wine is on your doorstep."),
    ],
  },
  {
    subject: "Data page for the pilot schools",
    folder: "INBOX",
    daysAgo: 3,
    turns: [
      t(
        "me",
        0,
        "Dear Nora,\n\ngood news: the public data page comes with the spring release, and Riverside is one of the three schools that get it first. Would a link that pupils can open without a login be fine for you?",
      ),
      t("nora", 20, "Dear Alex,\n\nyes, as long as it shows no names. The head teacher asks whether we may put it on the big screen in the hall.", {
        isFlagged: true,
      }),
    ],
  },
  {
    subject: "Supplier change for the bearings",
    folder: "Archive",
    daysAgo: 255,
    cc: ["ingrid"],
    turns: [
      t("ravi", 0, "The new bearings cost 40 cents more and last twice as long in the salt spray test. I would switch for all marine kits."),
      t("ingrid", 5, "40 cents on 300 pieces a year is 120 euros. A single return costs more than that. Fine with me."),
      t("me", 1, "Agreed, switch. Please keep 50 of the old ones for repairs."),
    ],
  },
  {
    subject: "Feedback on the manual",
    folder: "Archive",
    daysAgo: 280,
    cc: ["dele"],
    turns: [
      t("clara", 0, "The new manual is down to 8 pages. Would you read it with the eyes of somebody who has never seen a station?", {
        attachments: [pdf("manual-draft-3.pdf", ["NL-20 manual, draft 3", "1. Unpack", "2. Mount", "3. Switch on"])],
      }),
      t(
        "me",
        22,
        'I followed it with my neighbour, who is a baker. She was done in 25 minutes and only got stuck on page 5: "north arrow" needs a picture.',
      ),
      t("dele", 3, "Page 5 is also where most calls come from. A picture of the arrow next to a compass would save us an hour a week."),
      t("clara", 26, "Picture added. Please thank the baker!"),
    ],
  },
  {
    subject: "Office plants",
    folder: "Archive",
    daysAgo: 310,
    cc: ["mina", "clara", "ravi", "tomas", "ingrid"],
    turns: [
      t(
        "dele",
        0,
        "Dear all,\n\nthe fig tree in the meeting room gets watered by at least three people. It is drowning. From today only Ravi waters it, because he has put a moisture sensor in.",
      ),
      t("ravi", 0.4, "68 % and falling. I will publish a graph."),
      t("me", 0.3, "Please add an alarm threshold, in case of storms."),
    ],
  },
  {
    subject: "Certificate for the 868 MHz radio",
    folder: "Archive",
    daysAgo: 330,
    turns: [
      t(
        "mina",
        0,
        "The test house confirmed our slot. They need two units and the block diagram by the 20th. Can you ship the units from your project stock?",
      ),
      t("me", 3, "Units are packed, serials 20-0417 and 20-0418. They leave today."),
      t("mina", 500, "Passed, with 6 dB of margin. Certificate attached, please file it with the Apollo papers too.", {
        attachments: [pdf("radio-certificate.pdf", ["Radio test report", "NL-20, 868 MHz", "Result: passed"])],
      }),
    ],
  },
  {
    subject: "Holiday plan for the summer",
    folder: "Archive",
    daysAgo: 228,
    cc: ["ravi", "clara", "dele"],
    turns: [
      t("mina", 0, "Please enter your summer weeks in the plan by Friday, so that support is never empty. I take the first two weeks of August."),
      t("me", 4, "I take the last two of July. Dele and I will not be away together."),
      t("dele", 1, "Then I am on the island in September, when it is quiet."),
    ],
  },
  {
    subject: "Question about the API for readings",
    folder: "INBOX",
    daysAgo: 47,
    turns: [
      t("ben", 0, "Do you have an endpoint for the last reading only? I poll the whole day at the moment and feel bad about it."),
      t("me", 3, "There is: /stations/{id}/latest, refreshed once a minute. And a webhook, if you would rather be told."),
      t("ben", 1.5, "Told, please. Where do I put the address?"),
      t("me", 0.5, 'Settings, Notifications, "Send to my server". The signature is explained right below it.'),
      t("ben", 20, "Works. My server is a very small computer in a shed, and it is proud."),
    ],
  },
];
