import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createHostResolver } from "../../network/resolve-host.ts";
import { fetchText } from "../../providers/imap/fetch-text.ts";
import { selfSigned } from "../webhooks/receiver.ts";

/** A server that redirects, at the one address that counts as outside here, and one inside that must never hear of it. */
const certificate = selfSigned("*.acme.example");
const redirects = new Map<string, string>();
const heard: string[] = [];
let connectedInside = 0;

const outside = createServer(certificate, (request, response) => {
  heard.push(`${request.headers.host?.split(":")[0]}${request.url}`);
  const location = redirects.get(request.url ?? "");
  if (location === undefined) response.end("<clientConfig/>");
  else response.writeHead(302, { Location: location }).end();
});
const inside = createServer(certificate, (_request, response) => void response.end("secret"));
inside.on("connection", () => {
  connectedInside += 1;
});

let port: number;
beforeAll(async () => {
  await once(outside.listen(0, "127.0.0.1"), "listening");
  ({ port } = outside.address() as AddressInfo);
  await once(inside.listen(port, "127.0.0.2"), "listening");
});
afterAll(() => {
  for (const server of [outside, inside]) server.close();
});
beforeEach(() => {
  redirects.clear();
  heard.length = 0;
});

/** `inside` leads inside, and `turncoat` does from its second answer on. */
function resolver() {
  let answers = 0;
  const lookup = async (name: string) => {
    if (name === "turncoat.acme.example") answers += 1;
    return [name === "inside.acme.example" || answers > 1 ? "127.0.0.2" : "127.0.0.1"];
  };
  return createHostResolver({ allowPrivateNetworks: ["127.0.0.1/32"], lookup });
}
const begin = (path: string) => fetchText(`https://autoconfig.acme.example:${port}${path}`, resolver(), { ca: certificate.cert });

describe("an autoconfig file whose server redirects", () => {
  test("is followed three times, each hop by the name it gives", async () => {
    redirects.set("/1", `https://b.acme.example:${port}/2`).set("/2", "/3").set("/3", `https://c.acme.example:${port}/end`);
    expect(await begin("/1")).toBe("<clientConfig/>");
    expect(heard).toEqual(["autoconfig.acme.example/1", "b.acme.example/2", "b.acme.example/3", "c.acme.example/end"]);
  });

  test("says nothing where it goes on for ever", async () => {
    redirects.set("/loop", "/loop");
    expect(await begin("/loop")).toBeUndefined();
    expect(heard).toHaveLength(4);
  });

  test.each([
    "https://127.0.0.2:PORT/",
    "https://2130706434:PORT/",
    "https://0x7f000002:PORT/",
    "https://[::ffff:127.0.0.2]:PORT/",
    "https://[::ffff:7f00:2]:PORT/",
    "https://user:password@127.0.0.2:PORT/",
    "https://inside.acme.example:PORT/",
    "https://inside.acme.example.:PORT/",
    "//inside.acme.example:PORT/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://10.0.0.1/",
    "https://0.0.0.0:PORT/",
    "https://turncoat.acme.example:PORT/again",
  ])("to %s is refused at the first hop and at the last, and nothing inside is connected to", async (to) => {
    const target = to.replace("PORT", String(port));
    redirects.set("/first", target).set("/a", "/b").set("/b", "/c").set("/c", target).set("/again", `https://turncoat.acme.example:${port}/more`);
    for (const path of ["/first", "/b"]) await expect(begin(path), path).rejects.toMatchObject({ code: "private_address_refused" });
    expect(connectedInside).toBe(0);
  });

  test.each([
    "http://b.acme.example:PORT/",
    "ftp://b.acme.example/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://",
    "https://[",
    "https://%00/",
  ])("to %s says nothing, and goes nowhere", async (to) => {
    redirects.set("/first", to.replace("PORT", String(port)));
    expect(await begin("/first")).toBeUndefined();
    expect(heard).toEqual(["autoconfig.acme.example/first"]);
  });
});
