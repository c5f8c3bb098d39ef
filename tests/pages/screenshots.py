"""Takes the screenshots of docs/pictures from a running demonstration: python screenshots.py BASE_URL FOLDER."""

import shutil
import sys

from playwright.sync_api import sync_playwright

PICTURES = {
    "prison": "/pages/prisons/LEI",
    "case": "/pages/cases/A1000AA",
    "choice": "/pages/prisons/LEI/waiting/A1198AA",
}

if __name__ == "__main__":
    base_url, folder = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(base_url=base_url, viewport={"width": 1000, "height": 720})
        page.goto("/pages/people")
        page.get_by_label("HOMD_LEI").check()
        page.get_by_role("button", name="Continue").click()
        for name, path in PICTURES.items():
            page.goto(path)
            page.screenshot(path=f"{folder}/{name}.png")
        browser.close()
