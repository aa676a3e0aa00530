// Keeps the page on the device, so that it opens without a network. The name changes with the page.
const PAGE = `siglum ${registration.scope} `; // other pages of this host have their own
const NAME = `${PAGE}{{ version }}`;
const FILES = ["./", "manifest.webmanifest", "icon.svg", "icon.png"];

addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});
addEventListener("activate", (event) => {
  const remove = async () => Promise.all((await caches.keys()).filter((name) => name.startsWith(PAGE) && name !== NAME).map((name) => caches.delete(name)));
  event.waitUntil(remove().then(() => clients.claim()));
});
addEventListener("fetch", (event) => {
  const { request } = event;
  event.respondWith(caches.match(request.mode === "navigate" ? "./" : request).then((stored) => stored ?? fetch(request)));
});
