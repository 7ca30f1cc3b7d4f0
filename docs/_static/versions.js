// The list of versions, from versions.json beside the pages. A page opened from a folder has no list.
addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("versions");
  if (!place || !location.protocol.startsWith("http")) return;
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  const versions = await (await fetch(new URL("versions.json", root))).json();
  if (versions.length < 2) return;
  const list = document.createElement("select");
  list.ariaLabel = "Version";
  for (const { name, path } of versions) list.add(new Option(name, path, false, name === place.dataset.version));
  list.onchange = async () => {
    const folder = new URL(list.value, root);
    const page = new URL(place.dataset.page, folder);
    const found = await fetch(page, { method: "HEAD" });
    location.href = found.ok ? page : folder;
  };
  place.append(list);
});
