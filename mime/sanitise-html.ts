import sanitize from "sanitize-html";

export interface SanitiseOptions {
  /** Where a part with this Content-ID (no angle brackets) is to be had; undefined leaves the picture out. */
  readonly contentUrl?: (contentId: string) => string | undefined;
  /** Pictures of other servers are left out unless this is true: fetching one tells its owner who reads what, when and where. */
  readonly remoteImages?: boolean;
}

export interface SafeHtml {
  readonly html: string;
  /** Pictures of other servers that were left out. */
  readonly blockedImages: number;
  /** The mark-up was cut: it is longer than anybody reads. */
  readonly isTruncated: boolean;
}

/** Beyond this, mark-up is cut. Newsletters have a hundred kilobytes; years of quoted answers a few hundred. */
const inputLengthMax = 4 * 1024 * 1024;
const nestingMax = 300;

/**
 * HTML of a message as mark-up that may be shown in a sandboxed iframe: no scripts, handlers, forms, frames, style sheets or foreign content (SVG, MathML),
 * nothing loaded from elsewhere unless allowed, links that open on their own. What is not known to be harmless is left out, its text is kept.
 */
export function sanitiseHtml(html: string, options: SanitiseOptions = {}): SafeHtml {
  let blockedImages = 0;
  const image = (attributes: sanitize.Attributes): sanitize.Attributes => {
    const { src, srcset: _srcset, background: _background, ...kept } = attributes;
    const target = imageTarget(src ?? "", options);
    if (target === "blocked") blockedImages += 1;
    return target === undefined || target === "blocked" ? kept : { ...kept, src: target };
  };
  const safe = sanitize(html.slice(0, inputLengthMax), {
    allowedTags,
    allowedAttributes,
    allowedStyles: { "*": allowedStyles },
    allowedSchemes: ["http", "https", "mailto", "tel"],
    allowedSchemesByTag: { img: ["http", "https", "data"] },
    allowProtocolRelative: false,
    nonTextTags,
    nestingLimit: nestingMax,
    parseStyleAttributes: true,
    transformTags: {
      a: (_name, attributes) => ({ tagName: "a", attribs: link(attributes) }),
      img: (_name, attributes) => ({ tagName: "img", attribs: image(attributes) }),
    },
  });
  return { html: safe, blockedImages, isTruncated: html.length > inputLengthMax };
}

function link({ href, ...kept }: sanitize.Attributes): sanitize.Attributes {
  // A link without a host would lead into the page that shows the message.
  const target = href?.trim() ?? "";
  if (!/^(https?:\/\/|mailto:|tel:)/i.test(target)) return kept;
  return { ...kept, href: target, target: "_blank", rel: "noopener noreferrer nofollow" };
}

function imageTarget(src: string, { contentUrl, remoteImages = false }: SanitiseOptions): string | "blocked" | undefined {
  const target = src.trim();
  if (/^cid:/i.test(target)) return contentUrl?.(decodeContentId(target.slice(4)));
  // A picture in SVG is a document with scripts.
  if (/^data:image\/(png|gif|jpe?g|webp|bmp);base64,[a-z0-9+/=\s]*$/i.test(target)) return target;
  if (!/^(https?:)?\/\//i.test(target)) return undefined;
  return remoteImages ? target.replace(/^\/\//, "https://") : "blocked";
}

/** RFC 2392 §2 encodes a Content-ID as a URL does. */
function decodeContentId(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const allowedTags = (
  "a abbr address article b bdi bdo big blockquote br caption center cite code col colgroup dd del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 " +
  "h5 h6 header hr i img ins kbd li main mark ol p pre q s samp section small span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr"
).split(" ");

/** Elements whose content is no text of the message. What a browser reads as raw text has to go with its content: it may be read differently anew. */
const nonTextTags =
  "script style title template textarea option select noscript noembed noframes iframe frame frameset object applet xmp plaintext svg math head audio video canvas".split(
    " ",
  );

const allowedAttributes: Record<string, string[]> = {
  "*": ["align", "bgcolor", "color", "dir", "height", "lang", "style", "title", "valign", "width"],
  a: ["href", "rel", "target"],
  blockquote: ["type"],
  col: ["span"],
  colgroup: ["span"],
  font: ["face", "size"],
  img: ["alt", "border", "src"],
  li: ["value"],
  ol: ["start", "type"],
  table: ["border", "cellpadding", "cellspacing"],
  td: ["colspan", "rowspan", "nowrap"],
  th: ["colspan", "rowspan", "nowrap", "scope"],
  ul: ["type"],
};

/** Plain values only: no functions that load or compute, no escapes that could hide one. */
const plainValue = /^(?!.*(?:url|src|image|image-set|expression|element|attr|var|env|paint|cross-fade)\s*\()[\w\s#%.,()'"!+/-]{1,200}$/i;

/** Looks, not places: nothing that lays a part of the message over the page, or hides what a reader must see. */
const allowedStyles: Record<string, RegExp[]> = Object.fromEntries(
  (
    "background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width border-collapse border-color border-left border-left-color border-left-style " +
    "border-left-width border-radius border-right border-right-color border-right-style border-right-width border-spacing border-style border-top border-top-color " +
    "border-top-style border-top-width border-width clear color direction font font-family font-size font-style font-variant font-weight height letter-spacing " +
    "line-height list-style-type margin margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width padding padding-bottom padding-left " +
    "padding-right padding-top table-layout text-align text-decoration text-indent text-transform unicode-bidi vertical-align white-space width word-break " +
    "word-spacing word-wrap"
  )
    .split(" ")
    .map((property) => [property, [plainValue]]),
);
