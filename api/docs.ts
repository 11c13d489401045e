import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import express, { Router } from "express";
import helmet from "helmet";

/** `/openapi.json` and, at `/docs`, Swagger UI on top of it; its files come from our own packages, so it works without the internet. */
export function docsPages(document: unknown): Router {
  const router = Router();
  const json = JSON.stringify(document);
  router.get("/openapi.json", (_request, response) => {
    response.set({ "Content-Type": "application/json; charset=utf-8", "Access-Control-Allow-Origin": "*" }).send(Buffer.from(json));
  });
  router.get("/", (_request, response) => response.redirect(302, "/docs/"));
  router.use("/docs", pagePolicy);
  router.get("/docs", (request, response, next) => (request.path.endsWith("/") ? next() : response.redirect(302, "/docs/")));
  router.get("/docs/", (_request, response) => response.type("html").send(page));
  router.get("/docs/start.js", (_request, response) => response.type("text/javascript").send(script));
  const files = dirname(fileURLToPath(import.meta.resolve("swagger-ui-dist/package.json")));
  router.use("/docs", express.static(files, { index: false, redirect: false, maxAge: "1h" }));
  return router;
}

/** Swagger UI sets styles in attributes and shows its icons as data URLs; scripts are files of ours alone. */
const pagePolicy = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", "data:"],
      fontSrc: ["'self'"],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
});

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Everpost API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

const script = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#ui", deepLinking: true, persistAuthorization: true, tryItOutEnabled: true });\n`;
