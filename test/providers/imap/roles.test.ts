import { describe, expect, test } from "vitest";
import { detectRoles, type ListedFolder } from "../../../providers/imap/roles.ts";

function folder(path: string, flags: readonly string[] = [], delimiter = "/"): ListedFolder {
  return { path, name: path.split(delimiter).at(-1) ?? path, delimiter, flags: new Set(flags) };
}

const roleOf = (folders: readonly ListedFolder[], path: string, overrides = {}) => detectRoles(folders, overrides).get(path);

describe("a folder's role", () => {
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
