// Browsers do not run modules from a disk, so this is none.

if (location.protocol === "file:") {
  document.getElementById("loading").hidden = true;
  document.getElementById("message").textContent =
    "A browser cannot run this page from a disk; serve its folder, for example with: python -m http.server 8000";
}
