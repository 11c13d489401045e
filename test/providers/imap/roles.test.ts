import { describe, expect, test } from "vitest";
import type { FolderRole } from "../../../domain/folder.ts";
import { detectRoles, type ListedFolder } from "../../../providers/imap/roles.ts";

function folder(path: string, flags: readonly string[] = [], delimiter = "/"): ListedFolder {
  return { path, name: path.split(delimiter).at(-1) ?? path, delimiter, flags: new Set(flags) };
}

const roleOf = (folders: readonly ListedFolder[], path: string, overrides = {}) => detectRoles(folders, overrides).get(path);

/** What mail programs and providers call their default folders. */
const defaultNames: Readonly<Record<string, Readonly<Partial<Record<FolderRole, readonly string[]>>>>> = {
  en: {
    sent: ["Sent", "Sent Items", "Sent Mail", "Sent Messages", "Sent-Mail"],
    drafts: ["Drafts", "Draft"],
    trash: ["Trash", "Deleted Items", "Deleted Messages", "Bin", "Deleted"],
    junk: ["Junk", "Junk E-mail", "Junk Email", "Spam", "Bulk Mail"],
    archive: ["Archive", "Archives"],
  },
  de: {
    sent: ["Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten", "Gesendete Mails"],
    drafts: ["Entwürfe"],
    trash: ["Papierkorb", "Gelöschte Elemente", "Gelöschte Objekte", "Gelöscht"],
    junk: ["Junk-E-Mail", "Spamverdacht", "Unerwünscht", "Unerwünschte Werbung"],
    archive: ["Archiv", "Archivierte Elemente"],
  },
  fr: {
    sent: ["Envoyés", "Éléments envoyés", "Messages envoyés", "Courrier envoyé", "Envoyé"],
    drafts: ["Brouillons"],
    trash: ["Corbeille", "Éléments supprimés", "Messages supprimés", "Poubelle"],
    junk: ["Courrier indésirable", "Indésirables", "Pourriel", "Spam"],
    archive: ["Archive", "Archives"],
  },
  es: {
    sent: ["Enviados", "Elementos enviados", "Mensajes enviados", "Correo enviado"],
    drafts: ["Borradores", "Borrador"],
    trash: ["Papelera", "Elementos eliminados", "Eliminados", "Mensajes eliminados"],
    junk: ["Correo no deseado", "Correo basura", "No deseado"],
    archive: ["Archivo", "Archivados"],
  },
  it: {
    sent: ["Posta inviata", "Inviata", "Inviati", "Messaggi inviati"],
    drafts: ["Bozze"],
    trash: ["Cestino", "Posta eliminata", "Elementi eliminati", "Messaggi eliminati"],
    junk: ["Posta indesiderata", "Indesiderata"],
    archive: ["Archivio"],
  },
  pt: {
    sent: ["Enviados", "Itens Enviados", "Enviadas", "Mensagens enviadas", "E-mails enviados"],
    drafts: ["Rascunhos"],
    trash: ["Lixeira", "Lixo", "Itens Excluídos", "Itens Eliminados", "Mensagens excluídas", "Reciclagem"],
    junk: [
      "Lixo Eletrônico",
      "Lixo Eletrónico",
      "Correio eletrónico não solicitado",
      "Email de lixo",
      "Correio de lixo",
      "Publicidade não solicitada",
    ],
    archive: ["Arquivo", "Arquivo Morto"],
  },
  nl: {
    sent: ["Verzonden", "Verzonden items", "Verzonden berichten", "Verzonden e-mail"],
    drafts: ["Concepten"],
    trash: ["Prullenbak", "Verwijderde items", "Verwijderd", "Verwijderde berichten"],
    junk: ["Ongewenste e-mail", "Ongewenst", "Ongewenste reclame"],
    archive: ["Archief"],
  },
  pl: {
    sent: ["Wysłane", "Elementy wysłane", "Wysłane wiadomości", "Wysłane elementy"],
    drafts: ["Wersje robocze", "Kopie robocze", "Szkice"],
    trash: ["Kosz", "Elementy usunięte", "Usunięte", "Usunięte elementy"],
    junk: ["Wiadomości-śmieci", "Niechciane", "Spam"],
    archive: ["Archiwum"],
  },
  ru: {
    sent: ["Отправленные", "Отправлено", "Отправленные письма", "Отправленные сообщения"],
    drafts: ["Черновики"],
    trash: ["Корзина", "Удаленные", "Удалённые", "Удаленные сообщения"],
    junk: ["Спам", "Нежелательная почта"],
    archive: ["Архив"],
  },
  uk: {
    sent: ["Надіслані", "Відправлені", "Надіслане", "Надіслані листи"],
    drafts: ["Чернетки"],
    trash: ["Кошик", "Видалені", "Смітник"],
    junk: ["Спам", "Небажана пошта"],
    archive: ["Архів"],
  },
  sv: {
    sent: ["Skickat", "Skickade", "Skickade objekt", "Skickade meddelanden"],
    drafts: ["Utkast"],
    trash: ["Papperskorg", "Papperskorgen", "Borttaget", "Borttagna objekt"],
    junk: ["Skräppost", "Skräp", "Oönskad e-post"],
    archive: ["Arkiv"],
  },
  da: {
    sent: ["Sendt", "Sendt post", "Sendte elementer", "Sendte beskeder"],
    drafts: ["Kladder", "Udkast"],
    trash: ["Papirkurv", "Slettet post", "Slettede elementer", "Slettet"],
    junk: ["Uønsket mail", "Uønsket post", "Uønsket e-mail", "Uønsket"],
    archive: ["Arkiv"],
  },
  no: {
    sent: ["Sendt", "Sendte elementer", "Sendte meldinger", "Sendt e-post"],
    drafts: ["Kladd", "Utkast"],
    trash: ["Papirkurv", "Slettede elementer", "Papirkorg"],
    junk: ["Søppelpost", "Useriøs e-post", "Uønsket e-post"],
    archive: ["Arkiv"],
  },
  fi: {
    sent: ["Lähetetyt", "Lähetetyt viestit", "Lähetetyt kohteet"],
    drafts: ["Luonnokset"],
    trash: ["Roskakori", "Poistetut", "Poistetut viestit", "Poistetut kohteet"],
    junk: ["Roskaposti", "Roskapostit", "Roskaviestit"],
    archive: ["Arkisto"],
  },
  cs: {
    sent: ["Odeslané", "Odeslaná pošta", "Odeslané zprávy", "Odeslané položky"],
    drafts: ["Koncepty", "Rozepsané"],
    trash: ["Koš", "Odstraněná pošta", "Odstraněné", "Odstraněné položky"],
    junk: ["Nevyžádaná pošta", "Nevyžádané", "Spam"],
    archive: ["Archiv"],
  },
  sk: {
    sent: ["Odoslané", "Odoslaná pošta", "Odoslané správy", "Odoslané položky"],
    drafts: ["Koncepty", "Rozpísané"],
    trash: ["Kôš", "Odstránené", "Odstránená pošta", "Vymazané správy", "Odstránené položky"],
    junk: ["Nevyžiadaná pošta", "Nevyžiadané", "Spam"],
    archive: ["Archív"],
  },
  hu: {
    sent: ["Elküldött", "Elküldött elemek", "Elküldött üzenetek", "Elküldve", "Elküldött levelek"],
    drafts: ["Piszkozatok", "Vázlatok"],
    trash: ["Kuka", "Törölt elemek", "Törölt", "Lomtár", "Törölt üzenetek"],
    junk: ["Levélszemét", "Szemét", "Spam"],
    archive: ["Archívum"],
  },
  ro: {
    sent: ["Trimise", "Mesaje trimise", "Elemente trimise", "E-mailuri trimise"],
    drafts: ["Ciorne", "Mesaje nefinalizate"],
    trash: ["Coș de gunoi", "Gunoi", "Șterse", "Elemente șterse", "Mesaje șterse"],
    junk: ["Mesaje nedorite", "E-mail nedorit", "Spam", "Nedorite"],
    archive: ["Arhivă", "Arhiva"],
  },
  tr: {
    sent: ["Gönderilmiş", "Gönderilmiş Öğeler", "Gönderilenler", "Gönderilmiş Postalar", "Gönderilen"],
    drafts: ["Taslaklar"],
    trash: ["Çöp Kutusu", "Çöp", "Silinmiş Öğeler", "Silinenler"],
    junk: ["Önemsiz", "Önemsiz E-posta", "Gereksiz", "Gereksiz E-posta", "İstenmeyen", "İstenmeyen E-posta"],
    archive: ["Arşiv"],
  },
  el: {
    sent: ["Απεσταλμένα", "Σταλθέντα", "Απεσταλμένα στοιχεία"],
    drafts: ["Πρόχειρα", "Προσχέδια"],
    trash: ["Κάδος απορριμμάτων", "Διαγραμμένα", "Κάδος", "Διεγραμμένα", "Διαγραμμένα στοιχεία"],
    junk: ["Ανεπιθύμητα", "Ανεπιθύμητη αλληλογραφία", "Ανεπιθύμητη"],
    archive: ["Αρχειοθήκη"],
  },
  bg: {
    sent: ["Изпратени", "Изпратени писма", "Изпратена поща", "Изпратени елементи"],
    drafts: ["Чернови"],
    trash: ["Кошче", "Изтрити", "Изтрити елементи"],
    junk: ["Спам", "Нежелана поща"],
    archive: ["Архив"],
  },
  hr: {
    sent: ["Poslano", "Poslane stavke", "Poslane poruke", "Poslana pošta"],
    drafts: ["Skice", "Nacrti"],
    trash: ["Smeće", "Obrisane stavke", "Izbrisano", "Izbrisane stavke"],
    junk: ["Neželjena pošta", "Bezvrijedna pošta", "Neželjena e-pošta"],
    archive: ["Arhiva"],
  },
  sr: {
    sent: ["Послато", "Послате поруке", "Poslato"],
    drafts: ["Нацрти", "Nedovršene"],
    trash: ["Смеће", "Обрисано"],
    junk: ["Непожељно", "Нежељена пошта"],
    archive: ["Архива"],
  },
  sl: {
    sent: ["Poslano", "Poslana pošta", "Poslani elementi"],
    drafts: ["Osnutki"],
    trash: ["Smeti", "Koš", "Izbrisano", "Izbrisani elementi"],
    junk: ["Neželena pošta", "Neželeno", "Vsiljena pošta"],
    archive: ["Arhiv"],
  },
  lt: {
    sent: ["Išsiųsta", "Išsiųsti", "Išsiųsti laiškai", "Išsiųstieji"],
    drafts: ["Juodraščiai"],
    trash: ["Šiukšlinė", "Šiukšliadėžė", "Ištrinti", "Ištrinta"],
    junk: ["Brukalas", "Šlamštas", "Nepageidaujami"],
    archive: ["Archyvas"],
  },
  lv: {
    sent: ["Nosūtītie", "Nosūtītās", "Nosūtītās ziņas", "Nosūtīts"],
    drafts: ["Melnraksti"],
    trash: ["Atkritne", "Miskaste", "Dzēstie", "Papīrgrozs"],
    junk: ["Mēstules", "Surogātpasts", "Nevēlams"],
    archive: ["Arhīvs"],
  },
  et: {
    sent: ["Saadetud", "Saadetud kirjad", "Saadetud üksused"],
    drafts: ["Mustandid"],
    trash: ["Prügikast", "Kustutatud", "Kustutatud üksused"],
    junk: ["Rämpspost", "Rämps"],
    archive: ["Arhiiv"],
  },
  ja: {
    sent: ["送信済み", "送信済みアイテム", "送信済みメール", "送信済みトレイ", "送信済"],
    drafts: ["下書き", "ドラフト"],
    trash: ["ゴミ箱", "ごみ箱", "削除済みアイテム", "削除済み"],
    junk: ["迷惑メール", "スパム", "ジャンク"],
    archive: ["アーカイブ"],
  },
  zh: {
    sent: ["已发送", "已发送邮件", "已傳送郵件", "寄件備份", "寄件匣備份", "已传送", "已送出", "已寄出"],
    drafts: ["草稿箱", "草稿匣"],
    trash: ["已删除", "已删除邮件", "垃圾桶", "回收站", "废纸篓", "刪除的郵件", "已刪除"],
    junk: ["垃圾邮件", "垃圾郵件", "广告邮件"],
    archive: ["归档", "封存", "歸檔"],
  },
  ko: {
    sent: ["보낸편지함", "보낸 편지함", "보낸메일함", "보낸 메일함", "보낸 메시지", "보낸 항목"],
    drafts: ["임시보관함", "임시 보관함", "초안"],
    trash: ["휴지통", "지운편지함", "지운 편지함", "삭제된 항목"],
    junk: ["스팸", "스팸메일함", "스팸 메일함", "정크 메일", "정크", "스팸함"],
    archive: ["보관", "보관함", "보관 편지함"],
  },
  ar: {
    sent: ["المرسل", "البريد المرسل", "المرسلة", "العناصر المرسلة", "الرسائل المرسلة"],
    drafts: ["المسودات", "مسودات"],
    trash: ["المهملات", "سلة المهملات", "العناصر المحذوفة", "المحذوفة"],
    junk: ["البريد العشوائي", "الرسائل غير المرغوب فيها", "البريد غير الهام", "غير المرغوب"],
    archive: ["الأرشيف", "أرشيف"],
  },
  he: {
    sent: ["נשלח", "נשלחו", "פריטים שנשלחו", "דואר שנשלח", "דואר יוצא שנשלח"],
    drafts: ["טיוטות"],
    trash: ["אשפה", "פריטים שנמחקו", "סל אשפה", "נמחקו"],
    junk: ["דואר זבל", "זבל", "ספאם"],
    archive: ["ארכיון"],
  },
  hi: {
    sent: ["भेजे गए", "भेजा गया", "प्रेषित"],
    drafts: ["ड्राफ़्ट", "ड्राफ्ट"],
    trash: ["ट्रैश", "रद्दी", "कचरा", "हटाए गए आइटम"],
    junk: ["स्पैम", "जंक", "जंक ईमेल"],
    archive: ["संग्रह", "आर्काइव"],
  },
  vi: {
    sent: ["Đã gửi", "Thư đã gửi", "Mục đã Gửi"],
    drafts: ["Thư nháp", "Bản nháp", "Bản thảo"],
    trash: ["Thùng rác", "Mục đã xóa", "Thư đã xóa"],
    junk: ["Thư rác", "Email rác"],
    archive: ["Lưu trữ"],
  },
  th: {
    sent: ["ส่งแล้ว", "จดหมายที่ส่งแล้ว", "รายการที่ส่ง", "ที่ส่งแล้ว"],
    drafts: ["ร่าง", "จดหมายร่าง", "แบบร่าง", "ฉบับร่าง"],
    trash: ["ถังขยะ", "รายการที่ลบ"],
    junk: ["สแปม", "จดหมายขยะ", "อีเมลขยะ"],
    archive: ["ที่เก็บถาวร", "เก็บถาวร"],
  },
  id: {
    sent: ["Terkirim", "Pesan Terkirim"],
    drafts: ["Draf"],
    trash: ["Tong Sampah", "Item Terhapus"],
    junk: ["Spam", "Email Sampah", "Surat Sampah", "Junk"],
    archive: ["Arsip"],
  },
  ca: {
    sent: ["Enviats", "Elements enviats"],
    drafts: ["Esborranys"],
    trash: ["Paperera", "Elements suprimits"],
    junk: ["Correu brossa"],
    archive: ["Arxiu"],
  },
};

describe("a folder's role", () => {
  test.each(Object.keys(defaultNames))("is known by the names that mail programs give in %s [row 65]", (language) => {
    for (const [role, names] of Object.entries(defaultNames[language] ?? {})) {
      for (const name of names) expect([name, roleOf([folder(name)], name)?.role]).toEqual([name, role]);
    }
  });

  test.each([
    ...["Aika", "Kanta", "Kaset", "Archivos", "Arquivos", "arXiv", "Entwurf", "Concept", "Schițe", "Coș", "保存", "Giden", "Robocze"],
    ...["Drafts 2024", "Sent to tax office", "Archiv Kunden", "Spam reports", "Trash collection", "Entwürfe Haus", "Papierkorb Küche", "Junkers"],
    ...["Posta", "Post", "Mail", "Messages", "Sentinel", "Draftsmen", "Outbox", "Postausgang", "Templates", "Notes"],
  ])("is not guessed from %s, which may well be something else [row 65]", (name) => {
    expect(roleOf([folder(name)], name)?.role).toBe("none");
  });

  test.each([
    ["INBOX", "inbox"],
    ["inbox", "inbox"],
    ["Sent", "sent"],
    ["Sent Items", "sent"],
    ["Sent Mail", "sent"],
    ["Gesendet", "sent"],
    ["Gesendete Elemente", "sent"],
    ["Entwürfe", "drafts"],
    ["Papierkorb", "trash"],
    ["Gelöschte Elemente", "trash"],
    ["Spam", "junk"],
    ["Junk-E-Mail", "junk"],
    ["Éléments envoyés", "sent"],
    ["Brouillons", "drafts"],
    ["Corbeille", "trash"],
    ["Enviados", "sent"],
    ["Borradores", "drafts"],
    ["Papelera", "trash"],
    ["Posta inviata", "sent"],
    ["Bozze", "drafts"],
    ["Cestino", "trash"],
    ["Itens Enviados", "sent"],
    ["Rascunhos", "drafts"],
    ["Lixeira", "trash"],
    ["Verzonden items", "sent"],
    ["Concepten", "drafts"],
    ["Prullenbak", "trash"],
    ["Wysłane", "sent"],
    ["Kosz", "trash"],
    ["Skickat", "sent"],
    ["Papperskorgen", "trash"],
    ["Sendt post", "sent"],
    ["Lähetetyt", "sent"],
    ["Roskakori", "trash"],
    ["Отправленные", "sent"],
    ["Черновики", "drafts"],
    ["Надіслані", "sent"],
    ["Odeslané", "sent"],
    ["Koš", "trash"],
    ["Elküldött elemek", "sent"],
    ["Gönderilmiş Öğeler", "sent"],
    ["送信済みアイテム", "sent"],
    ["下書き", "drafts"],
    ["ゴミ箱", "trash"],
    ["已发送", "sent"],
    ["草稿箱", "drafts"],
    ["垃圾邮件", "junk"],
    ["보낸편지함", "sent"],
    ["휴지통", "trash"],
    ["Archive", "archive"],
    ["Clients", "none"],
    ["Sent to clients", "none"],
  ])("%s is %s [row 65]", (path, role) => {
    expect(roleOf([folder(path)], path)?.role).toBe(role);
  });

  test("is what the server says, whatever the name", () => {
    expect(roleOf([folder("Zeug", ["\\HasNoChildren", "\\Sent"])], "Zeug")).toEqual({ role: "sent", roleSource: "server" });
    expect(roleOf([folder("[Gmail]/Wichtig", ["\\Important"])], "[Gmail]/Wichtig")).toEqual({ role: "important", roleSource: "server" });
  });

  test("is what the customer says, whatever the server says [row 65]", () => {
    const folders = [folder("Sent", ["\\Sent"]), folder("Outbox")];
    expect(roleOf(folders, "Sent", { Sent: "none" })).toEqual({ role: "none", roleSource: "override" });
    expect(roleOf(folders, "Outbox", { Outbox: "sent" })).toEqual({ role: "sent", roleSource: "override" });
  });

  test("is not guessed beside one that the server named", () => {
    const folders = [folder("Gesendet"), folder("Sent Messages", ["\\Sent"])];
    expect(roleOf(folders, "Gesendet")).toEqual({ role: "none", roleSource: "none" });
  });

  test("goes to the best name only", () => {
    const folders = [folder("Sent Mail"), folder("Sent"), folder("INBOX/Sent")];
    expect(folders.map(({ path }) => roleOf(folders, path)?.role)).toEqual(["none", "sent", "none"]);
  });

  test("is guessed right below INBOX and [Gmail], and nowhere deeper [row 66]", () => {
    expect(roleOf([folder("INBOX.Sent", [], ".")], "INBOX.Sent")?.role).toBe("sent");
    expect(roleOf([folder("[Google Mail]/Papierkorb")], "[Google Mail]/Papierkorb")?.role).toBe("trash");
    expect(roleOf([folder("Clients/Sent")], "Clients/Sent")?.role).toBe("none");
    expect(roleOf([folder("INBOX.Clients.Sent", [], ".")], "INBOX.Clients.Sent")?.role).toBe("none");
  });

  test("is none for a name that holds only folders", () => {
    expect(roleOf([folder("Sent", ["\\Noselect"])], "Sent")?.role).toBe("none");
  });

  test("does not stumble over names of object members", () => {
    expect(roleOf([folder("constructor"), folder("__proto__")], "__proto__")?.role).toBe("none");
  });
});
